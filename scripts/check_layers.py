#!/usr/bin/env python3
"""Who may include whom:

    tools, tests, bench, examples -> engine -> adapters -> control -> core -> std, xxHash, Boost.Container

Never upward; never adapter to adapter, except to http.hpp and http_retry.hpp, which the providers share.

    scripts/check_layers.py [ROOT]         prints every breach as FILE:LINE: WORDS, exits 1 if there is one
    scripts/check_layers.py --self-test    proves that each kind of breach is found
"""
import pathlib
import re
import sys
import tempfile

RANK = {"core": 0, "control": 1, "canary": 1.5, "adapters": 2, "engine": 3}
SHARED_ADAPTERS = ("adapters/http.hpp", "adapters/http_retry.hpp")
PROVIDER_PARTS = ("adapters/http_parts.hpp", "adapters/provider_http.hpp", "adapters/provider_jobs.hpp",
                  "adapters/provider_wire.hpp")
PROVIDERS = re.compile(r"adapters/((openai|together)_provider|provider_(http|jobs))\.hpp$")
PARTS = {  # of one adapter: headers, and how the names of those begin that may include them
    f"adapters/{adapter}_{part}.hpp": f"adapters/{adapter}"
    for adapter, parts in {
        "postgres": ("answer", "connection", "copy", "days", "delivery", "follower", "interactions", "jobs", "recorded", "retention",
                     "rows", "schema", "session", "units", "url"),
        "sqlite": ("connection", "delivery", "file", "interactions", "jobs", "recorded", "rows", "schema", "session"),
        "http": ("parts",),
        "json_dataset": ("events", "file"),
        "command": ("environment", "events", "state", "supervisor"),
        "openai_chat": ("client", "wire"),
        "spool": ("file",),
        "toml": ("alerts", "fine_tune", "reader", "sections", "tasks", "values"),
    }.items()
    for part in parts
}
HTTP_USERS = re.compile(r"adapters/(\w+_provider|openai_chat(_client)?|webhook|http_retry)\.hpp$")
STD = re.compile(r"^[a-z0-9_]+$")
PROCESSOR = {"control/sha256_x86.hpp": ("cpuid.h", "immintrin.h")}  # one processor's instructions, in a header of their own
POSIX = re.compile(r"^(sys/[a-z]+|fcntl|poll|pthread|signal|spawn|unistd)\.h$")
INCLUDE = re.compile(r"^\s*#\s*include\s*(.*)$")


def layer_of(header):
    """`header` as it stands in an include, without canary/ in front."""
    if "/" in header:
        return header.split("/")[0]
    if re.fullmatch(r"engine(_\w+)?\.hpp", header):
        return "engine"
    return "canary" if header == "canary.hpp" else "?"


def outside_breach(own, layer, header):
    """Why the header `own` may not include this header of somebody else's; None if it may."""
    if STD.match(header):
        return None
    if header == "xxhash.h":
        return None if own == "core/hash.hpp" else "only core/hash.hpp includes xxhash.h"
    if layer == "core" and POSIX.match(header):
        allowed = own in ("core/slots.hpp", "core/lane.hpp") and header in ("pthread.h", "unistd.h")
        return None if allowed else f"core does not touch the system: {header}"
    if layer in ("core", "control", "canary", "engine"):
        if header.startswith("boost/container/") or header in PROCESSOR.get(own, ()):
            return None
        return f"{layer} may include std and Boost.Container, not {header}"
    return None


def own_breach(own, layer, target):
    """Why the header `own` may not include our header `target`; None if it may."""
    target_layer = layer_of(target)
    if target_layer not in RANK:
        return f"{target} belongs to no layer"
    if layer == "adapters" and target_layer == "adapters":
        if target in SHARED_ADAPTERS and HTTP_USERS.match(own):
            return None
        if target in SHARED_ADAPTERS + PROVIDER_PARTS and PROVIDERS.match(own):
            return None
        if target in PARTS and own.startswith(PARTS[target]):
            return None
        return f"an adapter never includes an adapter: {target}"
    if target_layer == "canary" or RANK[target_layer] > RANK[layer]:
        return f"{layer} may not include {target}, which lies above it"
    return None


def includes(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1).strip()


def check_header(path, own):
    layer = layer_of(own)
    if layer not in RANK:
        yield 1, f"{own} belongs to no layer"
        return
    libraries = set()
    for number, text in includes(path):
        match = re.match(r"<([^>]+)>|\"(canary/[^\"]+)\"", text)
        if not match:
            yield number, f"include by the path from the include root, not {text}"
            continue
        header = match.group(1) or match.group(2)
        if header.startswith("canary/"):
            breach = own_breach(own, layer, header[len("canary/"):])
        else:
            breach = outside_breach(own, layer, header)
            if layer == "adapters" and not STD.match(header) and not POSIX.match(header):
                libraries.add("libpq" if "libpq" in header else header.split("/")[0])
                if len(libraries) > 1 and not breach:
                    breach = f"an adapter includes one outside library, not {' and '.join(sorted(libraries))}"
        if breach:
            yield number, breach


def check_tool(path):
    for number, text in includes(path):
        if text.strip("<>\"") == "xxhash.h":
            yield number, "only core/hash.hpp includes xxhash.h"
        if re.match(r"[<\"](\.\./)*(tests|bench|examples)/", text):
            yield number, f"the tool does not include {text}"


def check(root):
    breaches = []
    base = root / "include" / "canary"
    for path in sorted(base.rglob("*.hpp")):
        for number, words in check_header(path, path.relative_to(base).as_posix()):
            breaches.append(f"{path.relative_to(root)}:{number}: {words}")
    for path in sorted((root / "tools").rglob("*.[ch]pp")):
        for number, words in check_tool(path):
            breaches.append(f"{path.relative_to(root)}:{number}: {words}")
    return breaches


CLEAN = {
    "include/canary/core/hash.hpp": "#include <xxhash.h>\n#include <cstdint>\n",
    "include/canary/core/slots.hpp": "#include <pthread.h>\n#include <unistd.h>\n#include <canary/core/hash.hpp>\n",
    "include/canary/control/config.hpp": "#include <boost/container/small_vector.hpp>\n#include <canary/core/hash.hpp>\n",
    "include/canary/control/sha256_x86.hpp": "#include <cpuid.h>\n#include <immintrin.h>\n",
    "include/canary/adapters/http.hpp": "#include <curl/curl.h>\n",
    "include/canary/adapters/webhook.hpp": "#include <canary/adapters/http.hpp>\n",
    "include/canary/adapters/provider_http.hpp": "#include <canary/adapters/http.hpp>\n#include <boost/json.hpp>\n",
    "include/canary/adapters/openai_provider.hpp": "#include <canary/adapters/provider_http.hpp>\n",
    "include/canary/adapters/toml_config.hpp": "#include <toml++/toml.h>\n#include <sys/inotify.h>\n#include <canary/control/config.hpp>\n",
    "include/canary/adapters/postgres_url.hpp": "#include <libpq-fe.h>\n#include <postgresql/libpq-fe.h>\n",
    "include/canary/canary.hpp": "#include <canary/control/config.hpp>\n",
    "include/canary/engine.hpp": "#include <canary/adapters/http.hpp>\n",
    "tools/canary/main.cpp": "#include <canary/engine.hpp>\n#include <CLI/CLI.hpp>\n",
}
SEEDED = [
    ("include/canary/core/router.hpp", "#include <canary/control/config.hpp>", "lies above"),
    ("include/canary/core/router.hpp", '#include "canary/adapters/http.hpp"', "lies above"),
    ("include/canary/core/router.hpp", "#  include <canary/canary.hpp>", "lies above"),
    ("include/canary/core/router.hpp", "#include <xxhash.h>", "only core/hash.hpp"),
    ("include/canary/core/router.hpp", "#include <unistd.h>", "does not touch the system"),
    ("include/canary/core/slots.hpp", "#include <fcntl.h>", "does not touch the system"),
    ("include/canary/core/router.hpp", "#include <boost/unordered_map.hpp>", "not boost/unordered_map.hpp"),
    ("include/canary/core/router.hpp", '#include "types.hpp"', "include by the path"),
    ("include/canary/core/router.hpp", "#include CANARY_HEADER", "include by the path"),
    ("include/canary/control/config.hpp", "#include <toml++/toml.h>", "not toml++/toml.h"),
    ("include/canary/control/guard.hpp", "#include <canary/adapters/http.hpp>", "lies above"),
    ("include/canary/control/guard.hpp", "#include <immintrin.h>", "not immintrin.h"),
    ("include/canary/adapters/spool.hpp", "#include <canary/adapters/json_dataset_file.hpp>", "never includes an adapter"),
    ("include/canary/control/guard.hpp", "#include <canary/engine.hpp>", "lies above"),
    ("include/canary/canary.hpp", "#include <canary/adapters/toml_config.hpp>", "lies above"),
    ("include/canary/adapters/spool.hpp", "#include <canary/engine.hpp>", "lies above"),
    ("include/canary/adapters/spool.hpp", "#include <canary/adapters/http.hpp>", "never includes an adapter"),
    ("include/canary/adapters/webhook.hpp", "#include <canary/adapters/spool.hpp>", "never includes an adapter"),
    ("include/canary/adapters/spool.hpp", "#include <canary/adapters/toml_reader.hpp>", "never includes an adapter"),
    ("include/canary/adapters/openai_chat.hpp", "#include <canary/adapters/provider_http.hpp>", "never includes an adapter"),
    ("include/canary/adapters/spool.hpp", "#include <toml++/toml.h>\n#include <curl/curl.h>", "one outside library"),
    ("include/canary/extras/thing.hpp", "#include <vector>", "belongs to no layer"),
    ("tools/canary/main.cpp", "#include <xxhash.h>", "only core/hash.hpp"),
]


def self_test():
    failures = 0
    for seed in [None, *SEEDED]:
        files = dict(CLEAN)
        if seed:
            files[seed[0]] = files.get(seed[0], "") + seed[1] + "\n"
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, text in files.items():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(text)
            found = check(root)
        good = len(found) == 1 and seed[0] in found[0] and seed[2] in found[0] if seed else not found
        if not good:
            failures += 1
            print(f"self-test: {seed or 'the clean tree'} gave {found}")
    print(f"self-test: {len(SEEDED) + 1 - failures} of {len(SEEDED) + 1} trees judged rightly")
    return failures


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        sys.exit(1 if self_test() else 0)
    found = check(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent))
    print("\n".join(found) if found else "every include obeys the layers")
    sys.exit(1 if found else 0)
