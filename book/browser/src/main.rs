//! Reads the built book with an installed Chromium, as a reader does, and prints it.
//!
//! It knows the site in book/book alone, whatever built it: `cargo run -p book -- build`
//! does. What each page must show is in [`reader`], the whole visit in [`check`].

mod check;
mod chromium;
mod flow;
mod labs;
mod pdf;
mod reader;
mod report;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};

/// Reads the built book with an installed Chromium.
#[derive(Parser)]
#[command(name = "book-browser", arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Look at every page of the built site, light and dark, wide and narrow
    Check {
        /// axe-core's axe.min.js, to check accessibility as well
        #[arg(long)]
        axe: Option<PathBuf>,
        /// The site to look at [default: book/book]
        #[arg(long)]
        site: Option<PathBuf>,
        /// Visit these pages alone, like notation.html
        pages: Vec<String>,
    },
    /// Operate every lab of the built site, and compare what it says with the native
    /// functions
    Labs {
        /// What `cargo run -p book-lab --example native_labs` printed
        #[arg(long)]
        native: PathBuf,
        /// axe-core's axe.min.js, to check accessibility as well
        #[arg(long)]
        axe: Option<PathBuf>,
        /// The chapters whose programs are run in their pages
        #[arg(
            long,
            value_delimiter = ',',
            default_value = "ch01_latent_variables,ch02_elbo,ch05_vdm,ch06_learned_snr"
        )]
        programs: Vec<String>,
        /// Do these alone: a lab, like ch02-gap, `programs`, or `broken`
        labs: Vec<String>,
    },
    /// Print the whole built site to a PDF
    Pdf {
        /// The file to write [default: book/book/from-elbo-to-diffusion.pdf]
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    let book = book(&env::current_dir().context("the current folder cannot be read")?)?;
    match task {
        Task::Check { axe, site, pages } => {
            let site = site.unwrap_or_else(|| book.join("book"));
            let faulty = check::check(&check::Options {
                site,
                prefix: site_url(&book)?,
                axe,
                pages,
            })?;
            Ok(if faulty { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        Task::Labs { native, axe, programs, labs } => {
            let faulty = labs::check(&labs::Options {
                site: book.join("book"),
                prefix: site_url(&book)?,
                operated: book.join("lab/operated.json"),
                native,
                axe,
                programs,
                labs,
            })?;
            Ok(if faulty { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        Task::Pdf { out } => {
            let site = book.join("book");
            let pdf = out.unwrap_or_else(|| site.join("from-elbo-to-diffusion.pdf"));
            pdf::print(&site, &pdf)?;
            println!("the book is in {}", pdf.display());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The folder with book.toml: `book` in the nearest folder above `folder` that has it.
fn book(folder: &Path) -> Result<PathBuf> {
    let books = folder.ancestors().map(|root| root.join("book"));
    match books.into_iter().find(|book| book.join("book.toml").is_file()) {
        Some(book) => Ok(book),
        None => bail!(
            "no book/book.toml here or above {}; run this inside the repository",
            folder.display()
        ),
    }
}

/// The path under which the site is published, from book.toml.
fn site_url(book: &Path) -> Result<String> {
    let file = book.join("book.toml");
    let text = fs::read_to_string(&file)
        .with_context(|| format!("{} cannot be read", file.display()))?;
    let settings: toml::Table =
        text.parse().with_context(|| format!("{} is no TOML", file.display()))?;
    let html = settings.get("output").and_then(|output| output.get("html"));
    let url = html.and_then(|html| html.get("site-url")).and_then(toml::Value::as_str);
    Ok(url.unwrap_or("/").to_owned())
}
