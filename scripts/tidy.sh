#!/usr/bin/env bash
# clang-tidy over the public headers, all in one source, and over the tool, whose files it reads as preset release joins
# them.
. "$(dirname "$0")/lib.sh"

tool="$(clang_tidy_tool)"
if [ -z "$tool" ]; then echo "no clang-tidy $CLANG_TIDY_VERSION on this machine"; exit 77; fi
cmake --preset release >/dev/null

# With the tool's options, but for g++'s warnings, which are not clang's.
work="$ROOT/build/tidy"
rm -rf "$work" && mkdir -p "$work"
python3 - "$work" <<'PYTHON'
import json
import pathlib
import sys

work = pathlib.Path(sys.argv[1])
entries = [e for e in json.load(open("build/release/compile_commands.json")) if "/canary_cli.dir/" in e["command"]]
everything = work / "all_headers.cpp"
headers = sorted(str(p.relative_to("include")) for p in pathlib.Path("include").rglob("*.hpp"))
everything.write_text("".join(f'#include "{h}"\n' for h in headers))
model = entries[0]
command = model["command"].replace(model["file"], str(everything))
entries.append({"directory": model["directory"], "file": str(everything), "command": command})
(work / "compile_commands.json").write_text(json.dumps(entries))
(work / "units").write_text("\n".join(e["file"] for e in reversed(entries)))
PYTHON

# That a joined source includes sources is what it is for.
xargs -n 1 -P "$(nproc)" "$tool" --quiet -p "$work" --checks=-bugprone-suspicious-include \
  --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-error <"$work/units"
