#!/usr/bin/env python3
"""Every C++ block in README.md is a region of an example that compiles and runs.

In README.md, before the block:      <!-- examples/01_route.cpp:NAME -->
In the example, around the region:   // [readme:NAME]  ...  // [/readme:NAME]

    scripts/check_readme.py            exits 1 when a block differs, has no region, or a region is shown nowhere
    scripts/check_readme.py --write    puts the regions into README.md
"""
import pathlib
import re
import sys
import textwrap

BLOCK = re.compile(r"(?:<!-- (?P<file>examples/[\w./-]+):(?P<name>[\w-]+) -->\n)?^```cpp\n(?P<code>.*?)^```$", re.M | re.S)
REGION = re.compile(r"^ *// \[readme:(?P<name>[\w-]+)\]\n(?P<code>.*?)^ *// \[/readme:(?P=name)\]$", re.M | re.S)


def regions(root):
    found = {}
    for path in sorted((root / "examples").glob("*.cpp")):
        for match in REGION.finditer(path.read_text(encoding="utf-8")):
            found[f"examples/{path.name}", match["name"]] = textwrap.dedent(match["code"])
    return found


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    known = regions(root)
    faults = []
    shown = set()

    def put(match):
        line = text.count("\n", 0, match.start()) + 1
        key = (match["file"], match["name"])
        if not match["file"]:
            faults.append(f"README.md:{line}: a C++ block without `<!-- examples/FILE.cpp:NAME -->` before it")
        elif key not in known:
            faults.append(f"README.md:{line}: no region `{key[1]}` in {key[0]}")
        else:
            shown.add(key)
            if match["code"] != known[key]:
                faults.append(f"README.md:{line}: differs from region `{key[1]}` of {key[0]}")
                begin, end = (at - match.start() for at in match.span("code"))
                return match[0][:begin] + known[key] + match[0][end:]
        return match[0]

    written = BLOCK.sub(put, text)
    if sys.argv[1:] == ["--write"]:
        readme.write_text(written, encoding="utf-8")
        faults = [fault for fault in faults if "differs" not in fault]
    faults += [f"{file}: region `{name}` is shown nowhere in README.md" for file, name in sorted(known.keys() - shown)]
    print("\n".join(faults) if faults else f"{len(shown)} README blocks stand in the examples")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
