//! `lockgate policy`: policies tested like code.

use crate::exit::{Exit, Failure};
use crate::output::{self, GREEN, RED, clean, paint};
use crate::scratch::Scratch;
use clap::{Subcommand, ValueEnum};
use plane::{CaseReport, ScenarioError, play_scenario};
use serde_json::json;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// The largest scenario that is read.
const FILE_MAX_BYTES: u64 = 4 << 20;
/// The deepest directory that is looked into.
const DEPTH_MAX: usize = 16;

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Plays scenarios: who asks for what, under which documents, and what is expected
    #[command(
        after_help = "A scenario is a YAML file with documents, artifacts and questions. It needs no \
            network and no running plane, and is answered by the code that answers pulls and pushes.\n\n\
            Examples:\n  lockgate policy test ./scenarios\n  \
            lockgate policy test -o junit ./scenarios > report.xml\n\n\
            Exit status: 0 all is as expected, 1 something is not, 2 a file cannot be played."
    )]
    Test {
        /// Files, or directories that are searched for *.yaml and *.yml
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// How to print
        #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
        output: Format,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people: what differs, and a sum
    Table,
    /// All cases
    Json,
    /// JUnit XML, for CI
    Junit,
}

/// How a file went.
struct Played {
    file: String,
    about: String,
    cases: Vec<CaseReport>,
    /// Why it could not be played.
    error: Option<String>,
}

impl Command {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let Self::Test { paths, output } = self;
        let mut files = Vec::new();
        for path in &paths {
            find(path, true, 0, &mut files)?;
        }
        if files.is_empty() {
            let named: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            let message = format!("{} has no *.yaml file", named.join(", "));
            return Err(Failure::usage(message));
        }
        super::block_on(async {
            let mut all = Vec::with_capacity(files.len());
            for file in &files {
                all.push(play(file).await?);
            }
            output::out(&match output {
                Format::Table => table(&all),
                Format::Json => json(&all),
                Format::Junit => junit(&all),
            });
            Ok(exit(&all))
        })
    }
}

/// Files in the order of their names. `is_named`: by the command line, whatever it is called.
fn find(
    path: &Path,
    is_named: bool,
    depth: usize,
    files: &mut Vec<PathBuf>,
) -> Result<(), Failure> {
    let cannot = |error: &std::io::Error| {
        Failure::usage(format!("{} cannot be read", path.display())).because(error)
    };
    if !std::fs::metadata(path).map_err(|error| cannot(&error))?.is_dir() {
        let is_yaml = path.extension().is_some_and(|it| it == "yaml" || it == "yml");
        if is_named || is_yaml {
            files.push(path.to_owned());
        }
        return Ok(());
    }
    if depth > DEPTH_MAX {
        return Err(Failure::usage(format!(
            "{} is more than {DEPTH_MAX} directories deep",
            path.display()
        )));
    }
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path).map_err(|error| cannot(&error))? {
        entries.push(entry.map_err(|error| cannot(&error))?.path());
    }
    entries.sort();
    for entry in &entries {
        let is_hidden = entry.file_name().is_some_and(|it| it.as_encoded_bytes().starts_with(b"."));
        if !is_hidden {
            find(entry, false, depth + 1, files)?;
        }
    }
    Ok(())
}

async fn play(path: &Path) -> Result<Played, Failure> {
    let file = path.display().to_string();
    let not_played = |error: String| {
        let (file, about) = (file.clone(), String::new());
        Played { file, about, cases: Vec::new(), error: Some(error) }
    };
    let text = match read(path) {
        Ok(text) => text,
        Err(error) => return Ok(not_played(error)),
    };
    let scratch = Scratch::new("scenario")?;
    Ok(match play_scenario(&file, &text, scratch.path()).await {
        Ok(report) => {
            Played { file: file.clone(), about: report.about, cases: report.cases, error: None }
        }
        Err(ScenarioError::Problems(problems)) => not_played(problems.to_string()),
        Err(error) => not_played(format!("{file}: {error}")),
    })
}

fn read(path: &Path) -> Result<String, String> {
    use std::io::Read as _;
    let cannot = |error: std::io::Error| format!("{}: cannot be read: {error}", path.display());
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(cannot)?;
    file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text).map_err(cannot)?;
    match text.len() as u64 > FILE_MAX_BYTES {
        true => Err(format!("{}: larger than {FILE_MAX_BYTES} bytes", path.display())),
        false => Ok(text),
    }
}

fn exit(all: &[Played]) -> Exit {
    let mut cases = all.iter().flat_map(|it| &it.cases);
    if all.iter().any(|it| it.error.is_some()) {
        Exit::CannotTell
    } else if cases.any(|case| !case.is_as_expected()) {
        Exit::No
    } else {
        Exit::Yes
    }
}

fn table(all: &[Played]) -> String {
    let mut text = String::new();
    let (mut good, mut bad, mut unplayed) = (0_usize, 0_usize, 0_usize);
    for played in all {
        if let Some(error) = &played.error {
            unplayed += 1;
            let _ = writeln!(text, "{}  {}", paint(RED, "error"), error.trim_end());
        }
        for case in &played.cases {
            if case.is_as_expected() {
                good += 1;
                continue;
            }
            bad += 1;
            let (file, it) = (clean(&played.file), clean(&case.it));
            let _ = writeln!(text, "{}  {file}: {it}", paint(RED, "wrong"));
            for difference in &case.differences {
                let _ = writeln!(text, "       {}", clean(difference));
            }
            if !case.message.is_empty() {
                let _ = writeln!(text, "       answered: {}", clean(&case.message));
            }
        }
    }
    let colour = if bad + unplayed == 0 { GREEN } else { RED };
    let mut sum = format!("{good} of {} cases in {} files as expected", good + bad, all.len());
    if unplayed > 0 {
        let _ = write!(sum, "; {unplayed} files could not be played");
    }
    text + &paint(colour, &sum) + "\n"
}

fn json(all: &[Played]) -> String {
    let files: Vec<_> = all
        .iter()
        .map(|it| json!({ "file": it.file, "about": it.about, "cases": it.cases, "error": it.error }))
        .collect();
    format!("{:#}\n", json!({ "files": files }))
}

fn junit(all: &[Played]) -> String {
    let cases = || all.iter().flat_map(|it| &it.cases);
    let failures = cases().filter(|it| !it.is_as_expected()).count();
    let errors = all.iter().filter(|it| it.error.is_some()).count();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"lockgate policy test\" \
         tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\">\n",
        cases().count() + errors,
    );
    for played in all {
        let file = output::xml(&played.file);
        if let Some(error) = &played.error {
            let error = output::xml(error);
            let _ = writeln!(
                text,
                "  <testcase classname=\"{file}\" name=\"reads\"><error message=\"{error}\"/></testcase>"
            );
        }
        for case in &played.cases {
            let it = output::xml(&case.it);
            let differences = output::xml(&case.differences.join("; "));
            let _ = match case.is_as_expected() {
                true => writeln!(text, "  <testcase classname=\"{file}\" name=\"{it}\"/>"),
                false => writeln!(
                    text,
                    "  <testcase classname=\"{file}\" name=\"{it}\"><failure \
                     message=\"{differences}\">{}</failure></testcase>",
                    output::xml(&case.message)
                ),
            };
        }
    }
    text + "</testsuite>\n"
}
