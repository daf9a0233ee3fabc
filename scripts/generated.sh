#!/bin/bash
# Check that the committed generated files are what "go generate" makes of
# their sources. In a clean clone this is "git diff --exit-code" after it; in a
# tree with changes of its own only what generating changes counts.
set -eu -o pipefail
cd "$(dirname "$0")/.."

# state prints the checksum of each file that git has or would take.
state() {
  git ls-files -z --cached --others --exclude-standard | sort -zu |
    xargs -0 sha256sum 2>/dev/null || true # a file that is gone is not in the list
}

before=$(state)
go generate ./...
after=$(state)
if [ "$before" != "$after" ]; then
  diff <(echo "$before") <(echo "$after") | sed -n 's/^[<>] [0-9a-f]*  /  /p' | sort -u >&2 || true
  echo "generated: error: the files above are not what their sources generate" >&2
  echo "generated: hint: run 'make generate' and commit the result" >&2
  exit 1
fi
