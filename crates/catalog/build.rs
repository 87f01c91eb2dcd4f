//! Packs the model list: 2 MB of text that says the same in every line would be a twentieth of the binary.

use std::io::Write;
use std::path::Path;
use std::{env, fs, io};

const LIST: &str = "data/models.json";

fn main() -> io::Result<()> {
    writeln!(io::stdout(), "cargo::rerun-if-changed={LIST}")?;
    let folder = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    let packed = lz4_flex::compress_prepend_size(&fs::read(LIST)?);
    fs::write(Path::new(&folder).join("models.lz4"), packed)
}
