// canary version
#include <string>

#include <boost/json.hpp>

#include "canary/core/types.hpp"
#include "context.hpp"

namespace canary::cli {

void add_version(Syntax root, Context& context) {
  const Syntax noun = add_noun(root, context, "version", "Prints the version");
  noun.callback([&context] {
    if (context.json) return write_document(context.out, boost::json::object{{"version", json_text(canary::version)}});
    context.out.write("canary " + std::string{canary::version} + '\n');
  });
}

}  // namespace canary::cli
