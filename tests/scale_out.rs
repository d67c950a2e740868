//! The example `scale_out`, with servers on this machine. `.ci/run` builds it with the
//! feature `remote`.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// The program under test.
fn program() -> PathBuf {
    let folder = std::env::current_exe().expect("this test's own path");
    let folder = folder.parent().and_then(Path::parent).expect("target/PROFILE");
    let program = folder.join("examples").join("scale_out");
    assert!(
        program.exists(),
        "{} is missing: build it first, with `cargo build --features remote --example scale_out`",
        program.display()
    );
    program
}

/// A server in a process of its own. It ends with its owner.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .expect("a free port")
            .port();
        let mut process = Command::new(program())
            .args(["--serve", &port.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .expect("a server");
        let mut line = String::new();
        let mut said = BufReader::new(process.stderr.take().expect("its stderr"));
        while !line.contains("lending") {
            line.clear();
            assert_ne!(said.read_line(&mut line).expect("a line"), 0, "the server ended");
        }
        // What it says later is read as well, or it would wait for us.
        std::thread::spawn(move || said.lines().count());
        let address = format!("127.0.0.1:{port}");
        let start = Instant::now();
        while std::net::TcpStream::connect(&address).is_err() {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "the server does not listen"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { process, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn train(out: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(["--preset", "quick", "--out"]).arg(out).args(arguments);
    command
}

/// Waits until a run has written a whole checkpoint: one still being written has another
/// name, and a run that is killed then leaves none to go on from.
fn wait_for_checkpoint(out: &Path) {
    let whole = |file: std::io::Result<std::fs::DirEntry>| {
        file.is_ok_and(|f| f.path().extension().is_some_and(|e| e == "checkpoint"))
    };
    let start = Instant::now();
    while !std::fs::read_dir(out.join("checkpoints"))
        .is_ok_and(|mut files| files.any(whole))
    {
        assert!(start.elapsed() < Duration::from_secs(120), "no checkpoint was written");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The numbers of the report's loss curve.
fn losses(output: &Output) -> Vec<f64> {
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let rows = report.lines().filter(|line| line.starts_with("to step"));
    rows.map(|row| {
        row.split_whitespace().nth(3).and_then(|v| v.parse().ok()).expect("a number")
    })
    .collect()
}

#[test]
fn two_servers_train_as_one_device_does() {
    const TOLERANCE: f64 = 0.002;
    let (first, second) = (Server::start(), Server::start());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let both = format!("{},{}", first.address, second.address);
    let alone =
        train(&folder.path().join("alone"), &["--steps", "20"]).output().expect("a run");
    let shared =
        train(&folder.path().join("shared"), &["--steps", "20", "--devices", &both])
            .output()
            .expect("a run");
    let (alone, shared) = (losses(&alone), losses(&shared));
    println!("alone: {alone:?}\nshared: {shared:?}");
    assert_eq!(alone.len(), 10);
    assert!(alone[9] < alone[0] - 0.05, "nothing was learned");
    let apart = alone.iter().zip(&shared).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart <= TOLERANCE, "{apart} apart");
}

#[test]
fn a_server_that_dies_leaves_a_sentence_and_a_checkpoint() {
    let (first, mut second) = (Server::start(), Server::start());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out");
    let both = format!("{},{}", first.address, second.address);
    let run = train(&out, &["--steps", "400", "--devices", &both])
        .stderr(Stdio::piped())
        .spawn()
        .expect("a run");
    wait_for_checkpoint(&out);
    second.process.kill().expect("the server can be killed");
    let output = run.wait_with_output().expect("the run ends");
    let complaint = String::from_utf8_lossy(&output.stderr);
    println!("{complaint}");
    assert_eq!(output.status.code(), Some(1));
    let last = complaint.lines().last().unwrap_or_default();
    assert!(last.starts_with("error: device ") && last.contains("--resume"), "{last}");
    assert!(!complaint.contains("panicked"), "{complaint}");

    let resumed = Command::new(program())
        .args(["--preset", "quick", "--steps", "400", "--resume"])
        .arg(&out)
        .output();
    assert_eq!(losses(&resumed.expect("a run")).len(), 10);
}

/// More devices cut a batch into more shards, each with noise of its own.
#[test]
fn a_run_on_four_devices_does_not_go_on_on_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("out");
    let mut run = train(&out, &["--steps", "100000", "--devices", "cpu,cpu,cpu,cpu"])
        .spawn()
        .expect("a run");
    wait_for_checkpoint(&out);
    run.kill().and_then(|()| run.wait()).expect("the run can be killed");
    let mut resumed = Command::new(program());
    let output = resumed
        .args(["--preset", "quick", "--steps", "100000", "--resume"])
        .arg(&out)
        .output()
        .expect("a run");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("another run (shards: 4, not shards: 2)"), "{complaint}");
}

#[test]
fn a_device_that_does_not_answer_is_a_failure() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|l| l.local_addr())
        .expect("a free port")
        .port();
    for (devices, code, part) in [
        (format!("127.0.0.1:{port}"), 1, "no device answers"),
        ("abacus".into(), 2, "knows no device abacus"),
        ("cpu,cpu,cpu".into(), 2, "cannot be shared out evenly"),
    ] {
        let output =
            train(folder.path(), &["--devices", &devices]).output().expect("a run");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{complaint}");
        assert!(
            complaint.lines().last().is_some_and(|line| line.contains(part)),
            "{complaint}"
        );
        assert!(!complaint.contains("panicked"), "{complaint}");
    }
}

#[test]
fn to_lend_a_device_leaves_the_files_of_a_run_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let kept = folder.path().join("target/chapters/scale_out/checkpoints/kept");
    std::fs::create_dir_all(kept.parent().expect("a folder")).expect("the default folder");
    std::fs::write(&kept, "a checkpoint").expect("a file");
    let mut process = Command::new(program());
    // A port that is taken ends the server at once.
    let taken = TcpListener::bind("0.0.0.0:0").expect("a free port");
    let port = taken.local_addr().expect("its number").port().to_string();
    let output = process
        .args(["--serve", &port])
        .current_dir(folder.path())
        .output()
        .expect("a run");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert!(
        complaint.lines().any(|line| line.contains("try another --serve")),
        "{complaint}"
    );
    assert_eq!(
        std::fs::read_to_string(&kept).expect("the file is still there"),
        "a checkpoint"
    );
    assert_eq!(
        std::fs::read_dir(folder.path().join("target/chapters/scale_out"))
            .expect("the folder")
            .count(),
        1
    );
}
