#!/usr/bin/env bash
# Regenerates the pages that come from code and data, then builds the book when mdbook is there.
# A test in each crate fails when its page is not the one that its example prints.
. "$(dirname "$0")/env.sh"
scripts/setup.sh rust

# Prints an example's output into a page, whole or not at all.
page() {
  local crate="$1" example="$2" page="$3" fresh
  fresh="$(mktemp)"
  cargo run --quiet --locked -p "$crate" --example "$example" >"$fresh"
  install -m 0644 "$fresh" "$page"
  rm -f "$fresh"
  echo "$page" >&2
}

say "generated pages"
page faregate-catalog providers_doc docs/providers.md
page faregate-config reference docs/reference/config.md
# The square of dialects is measured: the test that checks the page also writes it.
UPDATE_DOCS=1 cargo test --quiet --locked -p faregate-testkit --test it square >&2
echo docs/fidelity.md >&2

if command -v mdbook >/dev/null; then
  mdbook build docs
else
  say "mdbook is not installed: the pages in docs/ are current, the book was not built"
fi
