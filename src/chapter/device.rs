//! From `--device` to a Burn device.

use std::panic;

use burn::tensor::{Device, Tensor};

use super::args::DeviceChoice;
use crate::error::{Error, Result};

/// The device that was asked for and its name in one word, or a sentence why it cannot be
/// used.
pub fn select(choice: DeviceChoice) -> Result<(Device, &'static str)> {
    match choice {
        DeviceChoice::Cpu => Ok((Device::flex(), "cpu")),
        DeviceChoice::Auto => Ok(gpus()
            .into_iter()
            .find_map(|(make, name)| probe(make).ok().map(|device| (device, name)))
            .unwrap_or_else(|| (Device::flex(), "cpu"))),
        DeviceChoice::Ndarray => ndarray(),
        DeviceChoice::Wgpu => gpu("wgpu", "a Vulkan, Metal or DX12 adapter"),
        DeviceChoice::Cuda => gpu("cuda", "an NVIDIA GPU with its driver"),
    }
}

/// The device with this name, or the one that a server lends at this HOST:PORT.
#[cfg(feature = "remote")]
pub fn named(name: &str) -> Result<Device> {
    use burn::remote::RemoteHost;
    use clap::ValueEnum;
    if let Ok(choice) = DeviceChoice::from_str(name, true) {
        return Ok(select(choice)?.0);
    }
    if !name
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    {
        return Err(Error::usage(format!(
            "--devices knows no device {name}; give cpu, wgpu, cuda, ndarray or HOST:PORT, separated by commas"
        )));
    }
    let host = RemoteHost::websocket(&format!("ws://{name}"));
    let connect = || Device::remote_options(&host).init();
    quietly(connect).and_then(|device| device.map_err(|e| e.to_string())).map_err(|reason| {
        let reason = reason.trim_end_matches('.');
        Error::failure(format!(
            "no device answers at {name} ({reason}); start `scale_out --serve PORT` there, or leave it out"
        ))
    })
}

/// Lends a device to whoever connects, until Ctrl-C. Nothing is encrypted and nobody is
/// asked for a password.
#[cfg(feature = "remote")]
pub fn serve(choice: DeviceChoice, port: u16) -> Result<()> {
    use burn::server::{RemoteServer, WebSocketTransport};
    let (device, name) = select(choice)?;
    super::terminal::say(format_args!(
        "lending {name} at port {port} to everybody who can reach it; Ctrl-C ends it"
    ));
    RemoteServer::new([device]).serve(WebSocketTransport::new(port)).map_err(|e| {
        Error::failure(format!(
            "cannot lend a device at port {port}: {e}; try another --serve PORT"
        ))
    })
}

type MakeDevice = fn() -> Device;

/// The GPU devices that are compiled in, the preferred one first.
fn gpus() -> Vec<(MakeDevice, &'static str)> {
    vec![
        #[cfg(feature = "cuda")]
        (|| Device::cuda(0), "cuda"),
        #[cfg(feature = "wgpu")]
        (|| Device::wgpu(burn::tensor::DeviceKind::DefaultDevice), "wgpu"),
    ]
}

fn gpu(name: &'static str, needs: &str) -> Result<(Device, &'static str)> {
    let Some((make, _)) = gpus().into_iter().find(|(_, n)| *n == name) else {
        return Err(Error::usage(format!(
            "this program was built without {name}; add `--features {name}` to the cargo command, or use --device cpu"
        )));
    };
    let device = probe(make).map_err(|reason| {
        Error::failure(format!(
            "--device {name} needs {needs}, and none answers ({reason}); use --device cpu"
        ))
    })?;
    Ok((device, name))
}

/// Makes the device and computes 1 + 1 on it. Burn panics where a device is missing, so the
/// panic is caught here.
fn probe(make: MakeDevice) -> std::result::Result<Device, String> {
    let device = quietly(|| {
        let device = make();
        let two = Tensor::<1>::from_floats([1.0], &device) + 1.0;
        (two.try_into_vec_as::<f32>().ok() == Some(vec![2.0])).then_some(device)
    })?;
    device.ok_or_else(|| "it computes wrong results".into())
}

/// What `compute` returns or, where it panics, the first line of what the panic says, which
/// is not printed.
fn quietly<T>(compute: impl FnOnce() -> T) -> std::result::Result<T, String> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let answer = panic::catch_unwind(panic::AssertUnwindSafe(compute));
    panic::set_hook(hook);
    answer.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text =
            text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("no device found");
        text.lines().next().unwrap_or_default().trim_end_matches('.').to_string()
    })
}

#[cfg(feature = "ndarray")]
fn ndarray() -> Result<(Device, &'static str)> {
    // Burn 0.22 deprecates NdArray; it stays selectable as long as Burn has it.
    #[expect(deprecated)]
    let device = Device::ndarray();
    Ok((device, "ndarray"))
}

#[cfg(not(feature = "ndarray"))]
fn ndarray() -> Result<(Device, &'static str)> {
    Err(Error::usage(
        "this program was built without ndarray; add `--features ndarray` to the cargo command, or use --device cpu",
    ))
}
