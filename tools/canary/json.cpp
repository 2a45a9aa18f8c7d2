// Boost.JSON wants its code compiled once in a program that uses the headers alone.
#include <boost/json/src.hpp>
