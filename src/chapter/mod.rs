//! What every chapter program shares: arguments, device, report, figures, metrics.

mod args;
mod device;
mod interrupt;
mod report;
mod setting;
mod terminal;

use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use burn::{
    module::Module,
    tensor::{Device, Tensor},
};
use serde_json::{Map, Value, json};

use self::{args::Parsed, terminal::Progress};
pub use self::{
    args::{Args, DataChoice, DeviceChoice, Flag, Preset},
    device::select as select_device,
    report::{Number, Report},
    setting::Setting,
};
use crate::{
    checkpoint::Checkpoints,
    data::{Dataset, digits::digits, mnist::mnist},
    error::{Error, Result},
    files::{self, write_atomically},
    training::{Shard, State, Trained, Training},
    weights,
};

/// Writing checkpoints may take one part in this many of the time...
const CHECKPOINT_SHARE: u32 = 50;
/// ... but they are never closer together than this.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(200);

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
    checkpoints: Checkpoints,
    resumed: bool,
    steps: usize,
    metrics: Map<String, Value>,
    timing: Map<String, Value>,
    start: Instant,
}

/// Runs a chapter: reads the command line, calls `run`, writes `metrics.json`. The exit code is 0, 2 for a usage error or 1
/// for a failure, of which stderr gets one sentence.
pub fn main(spec: Spec, run: fn(&mut Chapter) -> Result<()>) -> ExitCode {
    match Chapter::start(spec).and_then(|chapter| match chapter {
        Some(mut chapter) => run(&mut chapter).and_then(|()| chapter.finish()),
        None => Ok(()),
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

impl Chapter {
    fn start(spec: Spec) -> Result<Option<Self>> {
        let args = match Args::parse_for(spec.name, spec.about, spec.flags, std::env::args_os())? {
            Parsed::Run(args) => *args,
            Parsed::Help(text) => {
                print!("{text}");
                return Ok(None);
            }
        };
        if let Some(threads) = args.threads {
            rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build_global()
                .map_err(|e| Error::failure(format!("cannot start {threads} threads: {e}")))?;
        }
        #[cfg(feature = "remote")]
        if let Some(port) = args.serve {
            device::serve(args.device.unwrap_or(DeviceChoice::Cpu), port)?;
            return Ok(None);
        }
        let default = || PathBuf::from("target/chapters").join(spec.name);
        let out = args.out.clone().or_else(|| args.resume.clone()).unwrap_or_else(default);
        files::prepare_folder(&out)?;
        let resumed = args.resume.is_some();
        let folder = args.resume.as_ref().unwrap_or(&out).join("checkpoints");
        let checkpoints = Checkpoints::new(folder, args.describe(spec.name));
        if resumed && !checkpoints.exist() {
            let folder = args.resume.unwrap_or_default();
            return Err(Error::failure(format!(
                "there is no checkpoint in {}; give --resume the --out folder of a run that was interrupted",
                folder.display()
            )));
        }
        if !resumed {
            // Those of an older run would be mistaken for this one's.
            checkpoints.clear()?;
        }
        if let Some(file) = &args.save {
            files::check_writable(file)?;
        }
        let (device, device_name) = device::select(args.device.unwrap_or(DeviceChoice::Cpu))?;
        eprintln!("{} on {device_name}, figures and metrics in {}", spec.name, out.display());
        Ok(Some(Self {
            args,
            checkpoints,
            resumed,
            device,
            report: Report::new(true),
            spec,
            device_name,
            out,
            steps: 0,
            metrics: Map::new(),
            timing: Map::new(),
            start: Instant::now(),
        }))
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

    /// The data set that `--data` names.
    pub fn dataset(&self) -> Result<Dataset> {
        match self.data() {
            DataChoice::Digits => digits(),
            DataChoice::Mnist => {
                let mut progress: Option<(String, Progress)> = None;
                mnist(self.args.data_dir.as_deref(), |file, bytes, total| {
                    if progress.as_ref().is_none_or(|(name, _)| name != file) {
                        progress = Some((file.to_string(), Progress::new(file, total as usize)));
                    }
                    if let Some((_, progress)) = &mut progress {
                        progress.set(bytes as usize, "bytes");
                    }
                })
            }
        }
    }

    /// Records a result for `metrics.json`; the name ends in its unit, `test_bits_per_dim`.
    pub fn metric(&mut self, name: &str, value: f64) {
        self.metrics.insert(name.into(), json!(value));
    }

    /// Records a speed or duration for `metrics.json`, and tells it on stderr. It never enters the report.
    pub fn timing(&mut self, name: &str, value: f64) {
        eprintln!("{}: {value:.1}", name.replace('_', " "));
        self.timing.insert(name.into(), json!(value));
    }

    /// Shows a few images on stderr as text.
    pub fn show(&self, images: &[u8], side: usize, level_count: usize) {
        let images: Vec<&[u8]> = images.chunks(side * side).take(6).collect();
        eprint!("{}", terminal::blocks(&images, side, level_count));
    }

    /// Writes a figure, `<name>.svg`.
    pub fn figure(&self, name: &str, svg: &str) -> Result<()> {
        write_atomically(&self.out.join(format!("{name}.svg")), svg.as_bytes())
    }

    /// The model with the weights of `--load`, or `None` if the flag was not given.
    pub fn load_weights<M: Module>(&self, model: &M) -> Result<Option<M>> {
        let load = |file: &PathBuf| weights::load(model.clone(), self.spec.name, file).map(|model| model.valid());
        self.args.load.as_ref().map(load).transpose()
    }

    /// Writes the weights to the file of `--save`, if the flag was given.
    pub fn save_weights<M: Module>(&self, model: &M) -> Result<()> {
        match &self.args.save {
            Some(file) => weights::save(model, self.spec.name, file),
            None => Ok(()),
        }
    }

    /// Trains the model, with a progress bar, and with checkpoints from which `--resume` goes on.
    ///
    /// `stage` names this training run among those of the chapter; a chapter that trains several models gives each its own.
    /// Ctrl-C writes a checkpoint and ends the program with a sentence.
    pub fn train<M: Module + Sync>(
        &mut self,
        stage: &str,
        training: &Training,
        model: &M,
        loss: impl Fn(&M, Shard) -> Tensor<1> + Sync,
    ) -> Result<Trained<M>> {
        self.train_with(&[], stage, training, model, loss, |_| Ok(Vec::new()))
    }

    /// The same, with the shards of each batch computed on these devices; see [`Training::run`].
    pub fn train_on<M: Module + Sync>(
        &mut self,
        devices: &[Device],
        stage: &str,
        training: &Training,
        model: &M,
        loss: impl Fn(&M, Shard) -> Tensor<1> + Sync,
    ) -> Result<Trained<M>> {
        self.train_with(devices, stage, training, model, loss, |_| Ok(Vec::new()))
    }

    /// The same on one device, and after each step adds the numbers of `observe(state)` to those that come back in
    /// [`Trained::observed`]. A resumed run does not lose what was observed before.
    pub fn train_and_observe<M: Module + Sync>(
        &mut self,
        stage: &str,
        training: &Training,
        model: &M,
        loss: impl Fn(&M, Shard) -> Tensor<1> + Sync,
        observe: impl Fn(&State<M>) -> Result<Vec<f64>>,
    ) -> Result<Trained<M>> {
        self.train_with(&[], stage, training, model, loss, observe)
    }

    fn train_with<M: Module + Sync>(
        &mut self,
        devices: &[Device],
        stage: &str,
        training: &Training,
        model: &M,
        loss: impl Fn(&M, Shard) -> Tensor<1> + Sync,
        observe: impl Fn(&State<M>) -> Result<Vec<f64>>,
    ) -> Result<Trained<M>> {
        let file: String = stage.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let fresh = training.begin(model);
        let state = match self.resumed.then(|| self.checkpoints.latest(&file)).transpose()?.flatten() {
            Some(parts) => fresh.restore(&parts)?,
            None => fresh,
        };
        let mut progress = Progress::new(stage, training.steps);
        let (mut written, mut interval) = (Instant::now(), CHECKPOINT_INTERVAL);
        let interrupt = interrupt::while_training()?;
        let trained = training.run(state, devices, loss, |state| {
            if let Some(loss) = state.losses.last() {
                progress.set(state.step, &format!("{loss:.3}"));
            }
            let seen = observe(state)?;
            state.observed.extend(seen);
            let last = state.step == training.steps;
            if interrupt.requested() || last || written.elapsed() >= interval {
                written = Instant::now();
                let parts = state.save()?;
                self.checkpoints.write(&file, state.step, &parts.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
                interval = CHECKPOINT_INTERVAL.max(written.elapsed() * CHECKPOINT_SHARE);
            }
            if interrupt.requested() {
                let folder = self.out.display();
                return Err(Error::Interrupted(format!(
                    "interrupted in step {} of {stage}; `--resume {folder}` goes on from here",
                    state.step
                )));
            }
            Ok(())
        })?;
        drop(progress);
        // A stage that a resumed run finds done has no speed.
        if trained.steps_per_second > 0.0 {
            self.timing("train_steps_per_second", trained.steps_per_second);
        }
        Ok(trained)
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
        write_atomically(&self.out.join("metrics.json"), format!("{document:#}\n").as_bytes())?;
        self.checkpoints.clear()
    }
}
