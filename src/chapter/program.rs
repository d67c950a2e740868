//! One run of a chapter, from its command line to `metrics.json`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use burn::{module::Module, tensor::Device};
use serde_json::{Map, Value, json};
use web_time::Instant;

#[cfg(not(target_family = "wasm"))]
use super::progress::Progress;
use super::{
    args::{Args, DataChoice, DeviceChoice, Flag, Parsed, Preset},
    device,
    outlet::{Outlet, Terminal},
    report::Report,
    terminal::{self, say},
};
use crate::{
    checkpoint::Checkpoints,
    data::{Dataset, digits::digits},
    error::{Error, Result},
    figure::Figure,
    files::{self, write_atomically},
    weights,
};
#[cfg(not(target_family = "wasm"))]
use crate::{
    data::mnist::{Labels, mnist},
    progress::{Listener, listen},
};

/// What a chapter is called and which flags it can use.
pub struct Spec {
    /// The name of the program, `ch05_vdm`.
    pub name: &'static str,
    /// One sentence for `--help`.
    pub about: &'static str,
    /// The flags it can use beyond `--seed`, `--threads` and `--out`.
    pub flags: &'static [Flag],
}

/// One run of a chapter.
pub struct Chapter {
    /// The command line.
    pub args: Args,
    /// Where tensors are made.
    pub device: Device,
    /// What goes to stdout.
    pub report: Report,
    spec: Spec,
    device_name: &'static str,
    out: PathBuf,
    pub(super) outlet: Arc<dyn Outlet>,
    /// `None` in a page, which has no files.
    pub(super) checkpoints: Option<Checkpoints>,
    pub(super) steps: usize,
    metrics: Map<String, Value>,
    timing: Map<String, Value>,
    start: Instant,
}

/// Runs a chapter: reads the command line, calls `run`, writes `metrics.json`. The exit
/// code is 0, 2 for a usage error or 1 for a failure, of which stderr gets one sentence.
pub fn main(spec: Spec, run: fn(&mut Chapter) -> Result<()>) -> ExitCode {
    match Chapter::start(spec).and_then(|chapter| match chapter {
        Some(mut chapter) => run(&mut chapter).and_then(|()| chapter.finish()),
        None => Ok(()),
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("error: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

impl Chapter {
    fn start(spec: Spec) -> Result<Option<Self>> {
        let args = match Args::parse_for(
            spec.name,
            spec.about,
            spec.flags,
            std::env::args_os(),
        )? {
            Parsed::Run(args) => *args,
            Parsed::Help(text) => {
                terminal::print(&text);
                return Ok(None);
            }
        };
        if let Some(threads) = args.threads {
            rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().map_err(
                |e| Error::failure(format!("cannot start {threads} threads: {e}")),
            )?;
        }
        #[cfg(feature = "remote")]
        if let Some(port) = args.serve {
            device::serve(args.device.unwrap_or(DeviceChoice::Cpu), port)?;
            return Ok(None);
        }
        // Nothing is written before it is known that the run can begin.
        let (device, device_name) =
            device::select(args.device.unwrap_or(DeviceChoice::Cpu))?;
        let default = || PathBuf::from("target/chapters").join(spec.name);
        let out = args.out.clone().or_else(|| args.resume.clone()).unwrap_or_else(default);
        let folder = args.resume.as_ref().unwrap_or(&out);
        let checkpoints =
            Checkpoints::new(folder.join("checkpoints"), args.describe(spec.name));
        let name = folder.display();
        if args.resume.is_some() && !checkpoints.exist() {
            return Err(Error::failure(format!(
                "there is no checkpoint in {name}; give --resume the --out folder of a run that was interrupted"
            )));
        }
        if args.resume.is_none() && checkpoints.exist() {
            return Err(Error::usage(format!(
                "{name} holds a run that was interrupted; add `--resume {name}` to go on with it, or, to start anew, remove \
                 {name}/checkpoints or name another folder with --out"
            )));
        }
        files::prepare_folder(&out)?;
        if let Some(file) = &args.save {
            files::check_writable(file)?;
        }
        #[cfg(not(target_family = "wasm"))]
        listen(|what| Box::new(Progress::new(what)));
        say(format_args!(
            "{} on {device_name}, figures and metrics in {}",
            spec.name,
            out.display()
        ));
        let outlet = Arc::new(Terminal(out.clone()));
        let chapter = Self::new(spec, args, (device, device_name), outlet);
        Ok(Some(Self { checkpoints: Some(checkpoints), out, ..chapter }))
    }

    /// A run in a page: on the CPU, without files, all that it makes given to the outlet.
    /// Fails with a sentence for arguments that the chapter cannot use.
    pub fn in_page(spec: Spec, args: Args, outlet: Arc<dyn Outlet>) -> Result<Self> {
        args.check(spec.name, spec.flags)?;
        Ok(Self::new(spec, args, device::select(DeviceChoice::Cpu)?, outlet))
    }

    fn new(
        spec: Spec,
        args: Args,
        (device, device_name): (Device, &'static str),
        outlet: Arc<dyn Outlet>,
    ) -> Self {
        Self {
            args,
            checkpoints: None,
            device,
            report: Report::new(outlet.clone()),
            spec,
            device_name,
            out: PathBuf::new(),
            outlet,
            steps: 0,
            metrics: Map::new(),
            timing: Map::new(),
            start: Instant::now(),
        }
    }

    /// The folder whose checkpoints are those of this run: what `--resume` needs.
    pub(super) fn run_folder(&self) -> &Path {
        self.args.resume.as_ref().unwrap_or(&self.out)
    }

    /// The seed of all random numbers.
    pub fn seed(&self) -> u64 {
        self.args.seed.unwrap_or(0)
    }

    /// The preset.
    pub fn preset(&self) -> Preset {
        self.args.preset.unwrap_or(Preset::Quick)
    }

    /// Which data set.
    pub fn data(&self) -> DataChoice {
        self.args.data.unwrap_or(DataChoice::Digits)
    }

    /// The devices that `--devices` names.
    #[cfg(feature = "remote")]
    pub fn devices(&self) -> Result<Vec<Device>> {
        self.args.devices.iter().map(|name| device::named(name)).collect()
    }

    /// The number of training steps: `default`, unless `--steps` says otherwise.
    pub fn steps(&mut self, default: usize) -> usize {
        self.steps = self.args.steps.unwrap_or(default);
        self.steps
    }

    /// The data set that `--data` names. Only the digits have labels.
    pub fn dataset(&self) -> Result<Dataset> {
        match self.data() {
            DataChoice::Digits => digits(),
            #[cfg(not(target_family = "wasm"))]
            DataChoice::Mnist => self.mnist(Labels::Without),
            #[cfg(target_family = "wasm")]
            DataChoice::Mnist => Err(no_mnist()),
        }
    }

    /// The data set that `--data` names, with the class of each image.
    pub fn labelled_dataset(&self) -> Result<Dataset> {
        match self.data() {
            DataChoice::Digits => digits(),
            #[cfg(not(target_family = "wasm"))]
            DataChoice::Mnist => self.mnist(Labels::With),
            #[cfg(target_family = "wasm")]
            DataChoice::Mnist => Err(no_mnist()),
        }
    }

    #[cfg(not(target_family = "wasm"))]
    fn mnist(&self, labels: Labels) -> Result<Dataset> {
        let mut progress: Option<(String, Progress)> = None;
        mnist(self.args.data_dir.as_deref(), labels, |file, bytes, total| {
            if progress.as_ref().is_none_or(|(name, _)| name != file) {
                progress =
                    Some((file.to_string(), Progress::new(&format!("bytes of {file}"))));
            }
            if let Some((_, progress)) = &progress {
                progress.hear(bytes, total.unwrap_or(0));
            }
        })
    }

    /// Records a result for `metrics.json`; the name ends in its unit, `test_bits_per_dim`.
    pub fn metric(&mut self, name: &str, value: f64) {
        self.metrics.insert(name.into(), json!(value));
    }

    /// Records a speed or duration for `metrics.json`, and tells it on stderr. It never
    /// enters the report.
    pub fn timing(&mut self, name: &str, value: f64) {
        self.outlet.say(&format!("{}: {value:.1}", name.replace('_', " ")));
        self.timing.insert(name.into(), json!(value));
    }

    /// Shows a few images on stderr as text.
    pub fn show(&self, images: &[u8], side: usize, grey_level_count: usize) {
        let images: Vec<&[u8]> = images.chunks(side * side).take(6).collect();
        self.outlet.say(&terminal::blocks(&images, side, grey_level_count));
    }

    /// Hands over a figure: on a terminal it becomes `<name>.svg`, and what it shows
    /// `<name>.csv`.
    pub fn figure(&self, name: &str, figure: &Figure) -> Result<()> {
        self.outlet.figure(name, figure)
    }

    /// The model with the weights of `--load`, or `None` if the flag was not given.
    pub fn load_weights<M: Module>(&self, model: &M) -> Result<Option<M>> {
        let load = |file: &PathBuf| {
            weights::load(model.clone(), self.spec.name, file).map(|model| model.valid())
        };
        self.args.load.as_ref().map(load).transpose()
    }

    /// The model with the weights that another `program` saved: those of `--load`, or those
    /// in `shipped`, the contents of the file that the repository ships of it.
    pub fn load_weights_of<M: Module>(
        &self,
        program: &str,
        shipped: &[u8],
        model: M,
    ) -> Result<M> {
        match &self.args.load {
            Some(file) => weights::load(model, program, file),
            None => weights::shipped(model, program, shipped),
        }
    }

    /// The model with the weights of `--load` or, without `--steps` and `--resume`, with the
    /// `shipped` ones, the contents of a file that this program wrote; `None` if it is to
    /// be trained.
    pub fn load_or_shipped<M: Module>(
        &self,
        model: &M,
        shipped: &[u8],
    ) -> Result<Option<M>> {
        if self.args.load.is_some() {
            return self.load_weights(model);
        }
        match (self.args.steps, &self.args.resume) {
            (Some(_), _) => Ok(None),
            (None, Some(_)) => Err(Error::usage(
                "--resume goes on with a training run, and without --steps there is none; add the --steps of that run",
            )),
            (None, None) => {
                let model = weights::shipped(model.clone(), self.spec.name, shipped)?;
                Ok(Some(model.valid()))
            }
        }
    }

    /// Writes the weights to the file of `--save`, if the flag was given.
    pub fn save_weights<M: Module>(&self, model: &M) -> Result<()> {
        match &self.args.save {
            Some(file) => weights::save(model, self.spec.name, file),
            None => Ok(()),
        }
    }

    fn finish(mut self) -> Result<()> {
        let seconds = self.start.elapsed().as_secs_f64();
        self.timing("seconds", seconds);
        let preset = match self.preset() {
            Preset::Quick => "quick",
            Preset::Full => "full",
        };
        let document = json!({
            "chapter": self.spec.name,
            "device": self.device_name,
            "seed": self.seed(),
            "preset": preset,
            "steps": self.steps,
            "metrics": self.metrics,
            "timing": self.timing,
        });
        write_atomically(
            &self.out.join("metrics.json"),
            format!("{document:#}\n").as_bytes(),
        )?;
        self.checkpoints.map_or(Ok(()), |checkpoints| checkpoints.clear())
    }
}

#[cfg(target_family = "wasm")]
fn no_mnist() -> Error {
    Error::usage(
        "a page cannot fetch MNIST; leave out --data mnist, or run the program yourself",
    )
}
