//! `compress FILE OUT` and `decompress FILE OUT`.

use std::{
    fs,
    io::{Write, stderr, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
};

use burn::tensor::Device;
use clap::{Parser, Subcommand, error::ErrorKind};
use elbo_to_diffusion::{
    chapter::{Preset, write_atomically},
    codec::Header,
    data::digits::digits,
    error::{Error, Result},
};

use super::{models::Vdm, text};

/// The command line behind the program's name.
#[derive(Parser)]
#[command(name = "ch10_bits_back", disable_version_flag = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Code 8x8 images with levels 0 to 16, as CSV or IDX, plain or gzip
    Compress {
        /// The images
        file: PathBuf,
        /// The file to write
        out: PathBuf,
        /// Which weights of chapter 5 to code with [default: quick]
        #[arg(long, value_enum)]
        preset: Option<Preset>,
    },
    /// Write the images of a file that `compress` wrote
    Decompress {
        /// The file
        file: PathBuf,
        /// The images to write, as CSV or IDX, whichever they came as
        out: PathBuf,
    },
}

/// True if the command line names one of the commands.
pub fn asked_for() -> bool {
    std::env::args_os().nth(1).is_some_and(|a| a == "compress" || a == "decompress")
}

/// Runs it. The exit code is 0, 2 for a usage error or 1 for a failure, of which stderr gets
/// one sentence.
pub fn main() -> ExitCode {
    let line = match Line::try_parse() {
        Ok(line) => line,
        Err(e) if e.kind() == ErrorKind::DisplayHelp => {
            drop(write!(stdout().lock(), "{e}"));
            return ExitCode::SUCCESS;
        }
        Err(e) => {
            let text = e.to_string();
            // Up to the empty line before the usage: a sentence, and what it lists.
            let said = text.lines().map(str::trim).take_while(|line| !line.is_empty());
            let said = said.collect::<Vec<_>>().join(" ");
            drop(writeln!(
                stderr().lock(),
                "{said}; `compress --help` lists what it takes"
            ));
            return ExitCode::from(2);
        }
    };
    let done = match line.command {
        Command::Compress { file, out, preset } => {
            compress(&file, &out, preset.unwrap_or(Preset::Quick))
        }
        Command::Decompress { file, out } => decompress(&file, &out),
    };
    match done {
        Ok(sentence) => {
            drop(writeln!(stderr().lock(), "{sentence}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            drop(writeln!(stderr().lock(), "error: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).map_err(|e| {
        Error::failure(format!("cannot read {}: {e}; name another file", file.display()))
    })
}

/// `FILE why`, as a failure.
fn about(file: &Path) -> impl Fn(String) -> Error + '_ {
    move |why| Error::failure(format!("{} {why}", file.display()))
}

fn compress(file: &Path, out: &Path, preset: Preset) -> Result<String> {
    let (images, format) = text::parse(read(file)?).map_err(about(file))?;
    let (data, device) = (digits()?, Device::flex());
    let vdm = Vdm::load(&data, preset, &device)?;
    let coded = vdm.codec(&data, &device).encode(&images, format, |_| {})?;
    write_atomically(out, &coded)?;
    let count = images.levels.len() / data.test.dim();
    Ok(format!("{count} images in {} bytes, written to {}", coded.len(), out.display()))
}

fn decompress(file: &Path, out: &Path) -> Result<String> {
    let coded = read(file)?;
    let (header, _) = Header::read(&coded).map_err(about(file))?;
    let preset = Vdm::preset(header.model).ok_or_else(|| {
        about(file)("was coded with a model that this program does not decode".into())
    })?;
    let (data, device) = (digits()?, Device::flex());
    let vdm = Vdm::load(&data, preset, &device)?;
    let (images, format) = vdm.codec(&data, &device).decode(&coded).map_err(about(file))?;
    write_atomically(out, &text::write(&images, format))?;
    Ok(format!("{} images, written to {}", header.images, out.display()))
}
