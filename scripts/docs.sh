#!/usr/bin/env bash
# Regenerates the pages that come from code and data, then builds the book when mdbook is there.
#
# The pages are checked by tests, which rewrite them instead when FAREGATE_WRITE_DOCS is set.
. "$(dirname "$0")/env.sh"
scripts/setup.sh rust

say "generated pages"
FAREGATE_WRITE_DOCS=1 cargo test --workspace --locked --quiet -- docs_page
git --no-pager diff --stat -- docs || true

if command -v mdbook >/dev/null; then
  mdbook build docs
else
  say "mdbook is not installed: the pages in docs/ are current, the book was not built"
fi
