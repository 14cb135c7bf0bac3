#!/usr/bin/env bash
# Install what was committed last with the lowest and with the newest versions that pyproject.toml allows, each into a
# new virtual environment outside the checkout, and run tests/smoke.py there: tests/versions.sh [lowest|newest]
# tests/versions.txt keeps what was found: commit it. PYTHON names the interpreter, by default python3.
set -euo pipefail
cd "$(dirname "$0")/.."
unset PYTHONPATH
base=${PYTHON:-python3}
extras=parquet,datasets,lemmas,chinese,matlab,descriptors,hashing,faiss
commit=$(git rev-parse --short HEAD)
found=$PWD/tests/versions.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/source"
git archive HEAD | tar -x -C "$work/source"

"$base" - "$extras" >"$work/requirements" <<'PYTHON'
import sys
import tomllib

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
extras = [project["optional-dependencies"][name] for name in sys.argv[1].split(",")]
print(*sorted({line for lines in [project["dependencies"], *extras] for line in lines}), sep="\n")
PYTHON
# The lowest version of a package is the one that its line names.
sed 's/>=/==/' "$work/requirements" >"$work/lowest"
: >"$work/newest"

# What became of it, and the versions: try lowest|newest
try() {
    local python=$work/venv-$1/bin/python log=$work/log-$1 outcome=passes
    "$base" -m venv "$work/venv-$1"
    "$python" -m pip install --quiet --disable-pip-version-check -c "$work/$1" "$work/source[$extras]" \
        >"$log" 2>&1 || outcome="cannot be installed"
    if [ "$outcome" = passes ]; then
        GCNXMODAL_CACHE=$work/cache-$1 "$python" "$work/source/tests/smoke.py" "$work/smoke-$1" >"$log" 2>&1 ||
            outcome=fails
    fi
    [ "$outcome" = passes ] || tail -20 "$log" >&2
    "$python" - "$work/requirements" "$1: $outcome" "commit $commit" <<'PYTHON'
import datetime
import importlib.metadata
import platform
import re
import sys
import textwrap

with open(sys.argv[1]) as file:
    names = [re.split("[>=]", line)[0] for line in file]
installed = {one.name.lower().replace("_", "-"): one.version for one in importlib.metadata.distributions()}
versions = " ".join(f"{name}=={installed[name.lower()]}" for name in names if name.lower() in installed)
print(sys.argv[2], f"Python {platform.python_version()}", datetime.date.today(), sys.argv[3], sep=", ")
print(textwrap.fill(versions, 110, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False))
PYTHON
    [ "$outcome" = passes ]
}

# The last result for these versions and this Python is replaced.
status=0
python_version=$("$base" -c 'import platform; print(platform.python_version())')
for name in ${1:-lowest newest}; do
    try "$name" >"$work/result" || status=1
    cat "$work/result"
    touch "$found"
    awk -v name="$name:" -v python="Python $python_version," \
        '/^[^ ]/ { old = index($0, name) == 1 && index($0, python) } !old' "$found" >"$work/others"
    cat "$work/others" "$work/result" >"$found"
done
exit $status
