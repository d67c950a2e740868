//! The command line that all chapters share.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::error::{Error, Result};

/// Where the tensors live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DeviceChoice {
    /// A GPU if one is compiled in and present, otherwise the CPU.
    Auto,
    /// The CPU, with Burn's Flex backend.
    Cpu,
    /// The CPU, with Burn's NdArray backend (deprecated by Burn; needs `--features
    /// ndarray`).
    Ndarray,
    /// A GPU through Vulkan, Metal or DX12 (needs `--features wgpu`).
    Wgpu,
    /// An NVIDIA GPU (needs `--features cuda`).
    Cuda,
}

/// Which data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DataChoice {
    /// 8x8 digits, embedded in the program.
    Digits,
    /// 28x28 MNIST.
    Mnist,
}

/// How much work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// Seconds on a laptop.
    Quick,
    /// The best result this chapter can reach, in up to an hour of CPU time.
    Full,
}

/// A flag that some chapters can use and others cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// `--device`
    Device,
    /// `--data mnist` and `--data-dir`
    Mnist,
    /// `--preset full`
    Full,
    /// `--steps`
    Steps,
    /// `--save` and `--load`
    Weights,
    /// `--load` alone: the weights are those of another program
    Load,
    /// `--resume`
    Resume,
    /// `--guidance` and `--label`
    Guidance,
    /// `--devices` and `--serve`
    #[cfg(feature = "remote")]
    Remote,
}

/// The command line. A flag that was not given is `None`.
#[derive(Clone, Debug, Default, Parser)]
#[command(disable_version_flag = true)]
pub struct Args {
    /// Where to compute [default: cpu]
    #[arg(long, value_enum)]
    pub device: Option<DeviceChoice>,
    /// The data set [default: digits]
    #[arg(long, value_enum)]
    pub data: Option<DataChoice>,
    /// A folder with MNIST's files, for `--data mnist` without a network
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// How much work to do [default: quick]
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// Number of training steps [default: what the preset says]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count)]
    pub steps: Option<usize>,
    /// Seed of all random numbers [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = seed)]
    pub seed: Option<u64>,
    /// Number of CPU threads [default: one per core]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = count)]
    pub threads: Option<usize>,
    /// Where figures and metrics.json go [default: target/chapters/NAME]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Write the trained weights to this file (safetensors)
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Read trained weights from this file instead of training
    #[arg(long, value_name = "FILE")]
    pub load: Option<PathBuf>,
    /// Continue an interrupted run from the checkpoints in this folder
    #[arg(long, value_name = "DIR")]
    pub resume: Option<PathBuf>,
    /// Only draw samples, with this strength of guidance: 0 without the label, 1 with it
    #[arg(long, value_name = "W", allow_negative_numbers = true, value_parser = strength)]
    pub guidance: Option<f64>,
    /// Only draw samples, of this class, 0 to 9
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = label)]
    pub label: Option<u8>,
    /// Devices that share each batch, by their names or as HOST:PORT, separated by commas
    #[cfg(feature = "remote")]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub devices: Vec<String>,
    /// Lend the device of --device to other machines at this port, until Ctrl-C. Only for
    /// networks that you trust
    #[cfg(feature = "remote")]
    #[arg(long, value_name = "PORT")]
    pub serve: Option<u16>,
}

fn count(text: &str) -> std::result::Result<usize, &'static str> {
    text.parse().map_err(|_| "give a whole number, 1 or more")
}

fn seed(text: &str) -> std::result::Result<u64, String> {
    text.parse().map_err(|_| format!("a seed is a whole number from 0 to {}", u64::MAX))
}

fn strength(text: &str) -> std::result::Result<f64, &'static str> {
    // NaN is in no range.
    let strength = text.parse().ok().filter(|w| (0.0..=100.0).contains(w));
    strength.ok_or("the strength of guidance is a number from 0 to 100")
}

fn label(text: &str) -> std::result::Result<u8, &'static str> {
    let label = text.parse().ok().filter(|label| *label <= 9);
    label.ok_or("a label is a whole number from 0 to 9")
}

/// The most threads that `--threads` may ask for. A few for each core may make sense;
/// thousands only take memory.
fn most_threads() -> usize {
    16 * std::thread::available_parallelism().map_or(1, usize::from)
}

/// What the command line asks for.
pub enum Parsed {
    /// Run with these arguments.
    Run(Box<Args>),
    /// Print this text and stop.
    Help(String),
}

impl Args {
    /// Reads the command line of the chapter `name`, of which `flags` can be used.
    pub fn parse_for(
        name: &'static str,
        about: &'static str,
        flags: &[Flag],
        line: impl Iterator<Item = std::ffi::OsString>,
    ) -> Result<Parsed> {
        use clap::{CommandFactory, FromArgMatches, error::ErrorKind};
        let command = Self::command().name(name).bin_name(name).about(about);
        let args = match command
            .try_get_matches_from(line)
            .and_then(|m| Self::from_arg_matches(&m))
        {
            Ok(args) => args,
            Err(e) if e.kind() == ErrorKind::DisplayHelp => {
                return Ok(Parsed::Help(e.to_string()));
            }
            Err(e) => {
                let text = e.to_string();
                let first =
                    text.lines().next().unwrap_or("the command line cannot be read");
                let sentence = first.strip_prefix("error: ").unwrap_or(first);
                let values = text
                    .lines()
                    .find(|l| l.contains("[possible values"))
                    .map_or("", str::trim);
                let space = if values.is_empty() { "" } else { " " };
                return Err(Error::usage(format!(
                    "{sentence}{space}{values}; `--help` lists the flags"
                )));
            }
        };
        args.check(name, flags)?;
        Ok(Parsed::Run(Box::new(args)))
    }

    /// What makes a run what it is, beside the settings of its training, a line each: two
    /// runs with the same lines and the same settings compute the same.
    pub fn describe(&self, name: &str) -> String {
        let data = self.data.unwrap_or(DataChoice::Digits);
        let preset = self.preset.unwrap_or(Preset::Quick);
        format!(
            "program: {name}\ndata: {data:?}\npreset: {preset:?}\nseed: {}\n",
            self.seed.unwrap_or(0)
        )
    }

    /// Refuses what the chapter cannot use and values that make no sense.
    pub(super) fn check(&self, name: &str, flags: &[Flag]) -> Result<()> {
        let refuse = |flag: Flag, given: bool, what: &str| {
            if given && !flags.contains(&flag) {
                return Err(Error::usage(format!("{name} {what}")));
            }
            Ok(())
        };
        refuse(
            Flag::Device,
            self.device.is_some(),
            "computes on the CPU alone; leave out --device",
        )?;
        refuse(
            Flag::Mnist,
            self.data == Some(DataChoice::Mnist) || self.data_dir.is_some(),
            "runs on the embedded digits only; leave out --data mnist and --data-dir",
        )?;
        refuse(
            Flag::Full,
            self.preset == Some(Preset::Full),
            "has one preset; leave out --preset full",
        )?;
        refuse(
            Flag::Steps,
            self.steps.is_some(),
            "has no training steps to count; leave out --steps",
        )?;
        if flags.contains(&Flag::Load) {
            refuse(Flag::Weights, self.save.is_some(), "trains nothing; leave out --save")?;
        } else {
            refuse(
                Flag::Weights,
                self.save.is_some() || self.load.is_some(),
                "has no weights to save or load; leave out --save and --load",
            )?;
        }
        refuse(
            Flag::Resume,
            self.resume.is_some(),
            "writes no checkpoints; leave out --resume",
        )?;
        refuse(
            Flag::Guidance,
            self.guidance.is_some() || self.label.is_some(),
            "has no label to guide samples to; leave out --guidance and --label",
        )?;
        #[cfg(feature = "remote")]
        refuse(
            Flag::Remote,
            self.serve.is_some() || !self.devices.is_empty(),
            "works on one device; --devices and --serve are for scale_out",
        )?;
        if self.steps == Some(0) {
            return Err(Error::usage("--steps 0 trains nothing; give 1 or more"));
        }
        if self.threads == Some(0) {
            return Err(Error::usage("--threads 0 leaves nobody to work; give 1 or more"));
        }
        let most = most_threads();
        if let Some(threads) = self.threads.filter(|&threads| threads > most) {
            return Err(Error::usage(format!(
                "--threads {threads} is more than this machine can use; give at most {most}, 16 for each core"
            )));
        }
        if self.data_dir.is_some() && self.data != Some(DataChoice::Mnist) {
            return Err(Error::usage(
                "--data-dir holds the files of MNIST; add --data mnist or leave it out",
            ));
        }
        if self.load.is_some() && self.steps.is_some() {
            return Err(Error::usage(
                "--load takes trained weights, so --steps has nothing to train; drop one of them",
            ));
        }
        if self.resume.is_some() && self.load.is_some() {
            return Err(Error::usage(
                "--load trains nothing, so --resume has nothing to go on with; drop one of them",
            ));
        }
        Ok(())
    }
}
