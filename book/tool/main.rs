//! Builds and checks the book *From ELBO to Diffusion*.
//!
//! The tool reads pages, chapters, snapshots and tests as text; it imports none of them. A
//! page is scanned ([`markdown`]), its parts are written ([`pages`], which calls a small
//! module per kind of part), mdBook makes the site, and the finished HTML is checked
//! ([`links`]). Faults are collected over the whole book ([`problem`]).

mod book;
mod citation;
mod claims;
mod equation_map;
mod equations;
mod exercise;
mod figure;
mod fold;
mod labs;
mod ladder;
mod layout;
mod links;
mod listing;
mod markdown;
mod math;
mod numbers;
mod order;
mod page;
mod pages;
mod pictures;
mod problem;
mod programs;
mod publish;
mod relation;
mod rust_tests;
mod serve;
mod slots;
mod snapshot;
mod styles;
#[cfg(test)]
mod tests;
mod warnings;

use std::env;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, Parser, Subcommand};

use crate::layout::Layout;
use crate::problem::Problem;
use crate::programs::{Cache, Cargo};

/// Builds and checks the book.
#[derive(Parser)]
#[command(name = "book")]
struct Arguments {
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Write the site to book/book
    Build {
        /// Make the code of the labs as small as the published site's; the first time takes
        /// half an hour
        #[arg(long)]
        published: bool,
    },
    /// Serve the site to this machine and build it again when a page, chapter, snapshot or
    /// test changes
    Serve {
        /// The port to listen on
        #[arg(long, default_value_t = 3000)]
        port: u16,
    },
    /// Check everything and write nothing
    Check,
    /// Draw the pictures of README.md anew, in book/pictures
    Pictures,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Option<Task>) -> Result<ExitCode> {
    let Some(task) = task else {
        Arguments::command().print_help()?;
        return Ok(ExitCode::SUCCESS);
    };
    let here = env::current_dir().context("the current folder cannot be read")?;
    let layout = Layout::find(&here)?;
    let programs = Cargo { root: layout.root.clone() };
    let cache = Cache::of(&layout.root);
    match task {
        Task::Build { published } => {
            let labs = labs::build(&layout, published)?;
            let problems = publish::publish(&layout, &programs, &cache, labs.as_ref())?;
            Ok(report(&problems, "the book is in book/book: open book/book/index.html"))
        }
        Task::Check => {
            let folder = tempfile::tempdir()?;
            let site = folder.path().join("book");
            let problems = book::build(&layout, &programs, &cache, None, &site)?;
            Ok(report(&problems, "the book is right"))
        }
        Task::Serve { port } => {
            serve::serve(&layout, port)?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Pictures => {
            pictures::write(&layout, &programs, &cache)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Prints the faults, or `fine` where there are none.
fn report(problems: &[Problem], fine: &str) -> ExitCode {
    for problem in problems {
        eprintln!("{problem}");
    }
    match problems.len() {
        0 => {
            println!("{fine}");
            ExitCode::SUCCESS
        }
        count => {
            eprintln!(
                "{count} {} in the book; nothing was written",
                if count == 1 { "fault" } else { "faults" }
            );
            ExitCode::FAILURE
        }
    }
}
