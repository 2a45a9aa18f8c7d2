// chat_example.hpp: an interaction's texts as one line of chat training data.
#pragma once

#include <string>
#include <string_view>

namespace canary::cli {

/// Appends `{"messages":[...,{"role":"assistant","content":RESPONSE}]}` and a line break. A request that is an array of
/// messages, or an object that has one by the name of messages, stands before the answer as it is; any other is the
/// text of one user.
void append_chat_example(std::string& to, std::string_view request, std::string_view response);

}  // namespace canary::cli
