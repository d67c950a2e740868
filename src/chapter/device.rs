//! From `--device` to a Burn device.

use std::panic;

use burn::tensor::{Device, Tensor};

use super::args::DeviceChoice;
use crate::error::{Error, Result};

/// The device that was asked for and its name in one word, or a sentence why it cannot be used.
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
        Error::failure(format!("--device {name} needs {needs}, and none answers ({reason}); use --device cpu"))
    })?;
    Ok((device, name))
}

/// Makes the device and computes 1 + 1 on it. Burn panics where a device is missing, so the panic is caught here.
fn probe(make: MakeDevice) -> std::result::Result<Device, String> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let answer = panic::catch_unwind(|| {
        let device = make();
        let two = Tensor::<1>::from_floats([1.0], &device) + 1.0;
        (two.try_into_vec_as::<f32>().ok() == Some(vec![2.0])).then_some(device)
    });
    panic::set_hook(hook);
    match answer {
        Ok(Some(device)) => Ok(device),
        Ok(None) => Err("it computes wrong results".into()),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().map(String::as_str);
            let text = text.or(payload.downcast_ref::<&str>().copied()).unwrap_or("no device found");
            Err(text.lines().next().unwrap_or_default().trim_end_matches('.').to_string())
        }
    }
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
