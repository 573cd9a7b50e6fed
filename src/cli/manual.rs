//! `completions` and `man`: what a package installs beside the program, from the program itself.

use std::process::ExitCode;

use clap::{Arg, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use super::{Args, Failure, output};

pub fn completions(shell: Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "quittance", &mut script);
    print(&script)
}

pub fn page() -> Result<ExitCode, Failure> {
    let mut command = Args::command();
    command.build();
    let man = Man::new(command.clone()).manual("Quittance");
    let mut page = Vec::new();
    let mut write = || {
        man.render_title(&mut page)?;
        man.render_name_section(&mut page)?;
        synopsis().to_writer(&mut page)?;
        description().to_writer(&mut page)?;
        man.render_options_section(&mut page)?;
        commands(&mut command).to_writer(&mut page)?;
        for (title, terms) in SECTIONS {
            section(title, terms).to_writer(&mut page)?;
        }
        Ok::<_, std::io::Error>(())
    };
    write().map_err(|error| Failure::other(format!("the page can't be written: {error}")))?;
    print(&page)
}

fn print(bytes: &[u8]) -> Result<ExitCode, Failure> {
    output::whole(&String::from_utf8_lossy(bytes));
    Ok(ExitCode::SUCCESS)
}

fn synopsis() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold("quittance"), roman(" [OPTIONS] "), italic("COMMAND"), roman(" ...")]);
    roff.control("br", []);
    roff.text([bold("quittance"), roman(" [OPTIONS] "), bold("--run-job"), roman(" "), italic("JOB")]);
    roff
}

fn description() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["DESCRIPTION"]);
    roff.text([roman(
        "Quittance keeps the money right for companies that sell SMS and e-mail sending. Gateways say what \
         was sent; Quittance charges it to prepaid plans and pay-as-you-go balances every five minutes, in \
         books that balance to the millionth, on SQLite or PostgreSQL.",
    )]);
    roff
}

/// Every command with its own options; those that all have stand in OPTIONS.
fn commands(command: &mut Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    describe(&mut roff, command);
    roff
}

fn describe(roff: &mut Roff, command: &mut Command) {
    for command in command.get_subcommands_mut().filter(|command| !command.is_hide_set()) {
        if command.has_subcommands() {
            describe(roff, command);
            continue;
        }
        let usage = command.render_usage().to_string();
        roff.control("TP", []);
        roff.text([bold(usage.trim_start_matches("Usage: "))]);
        roff.text([roman(command.get_about().map(ToString::to_string).unwrap_or_default())]);
        let own = |arg: &&Arg| !arg.is_global_set() && !arg.is_hide_set() && arg.get_id() != "help";
        for arg in command.get_arguments().filter(own) {
            let Some(help) = arg.get_help() else { continue };
            let defaults: Vec<_> = arg.get_default_values().iter().map(|v| v.to_string_lossy()).collect();
            let default = match defaults.is_empty() {
                true => String::new(),
                false => format!(" [default: {}]", defaults.join(" ")),
            };
            roff.control("RS", []);
            roff.control("TP", []);
            roff.text([italic(arg.to_string())]);
            roff.text([roman(format!("{help}{default}"))]);
            roff.control("RE", []);
        }
    }
}

fn section(title: &str, terms: &[(&str, &str)]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    for (term, text) in terms {
        if !term.is_empty() {
            roff.control("TP", []);
            roff.text([bold(*term)]);
        } else {
            roff.control("PP", []);
        }
        roff.text([roman(*text)]);
    }
    roff
}

/// What the definitions of the command line do not say.
const SECTIONS: &[(&str, &[(&str, &str)])] = &[
    (
        "EXIT STATUS",
        &[
            ("0", "Done, also where there was nothing to do."),
            ("1", "Failed or refused; standard error says what, where and how to mend it."),
            ("2", "The command line is wrong."),
            ("3", "Done, but something is parked, quarantined or in suspense, and listed."),
            ("65", "The input is bad."),
            ("75", "Somebody else holds what is needed: try again."),
            ("78", "The configuration is wrong."),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            ("QUITTANCE_CONFIG", "Configuration file; --config comes first."),
            ("QUITTANCE_DATABASE_URL", "Database; --database comes first."),
            (
                "QUITTANCE_LOG",
                "What is logged on standard error, such as warn or quittance=debug,warn. The log is JSON \
                 where standard error is no terminal.",
            ),
            ("CREDENTIALS_DIRECTORY", "Set by systemd; its file database-url holds the URL of the database."),
            ("PGPASSFILE, PGSSLMODE, PGSSLROOTCERT and the like", "As for every client of PostgreSQL."),
        ],
    ),
    (
        "FILES",
        &[
            (
                "/etc/quittance/quittance.toml",
                "Where the books are, the billing zone, limits. ./config/quittance.toml comes first.",
            ),
            ("/etc/quittance/products.toml", "What is sold: lengths, validities, VAT."),
            ("/etc/quittance/prices.toml", "Price tiers and packages."),
            ("/var/lib/quittance", "Where the service works: SQLite books, files handed in."),
        ],
    ),
    (
        "SECURITY",
        &[
            (
                "",
                "A password belongs into a file that database_file names or into a credential of systemd: others \
                 can see a command line. Files with a password are refused where others can read them. A \
                 PostgreSQL server that is neither a unix socket nor on this machine is verified \
                 (sslmode=verify-full) unless the URL says otherwise.",
            ),
            (
                "",
                "quittance migrate --roles PREFIX gives PostgreSQL books an owner, a role that runs and can't \
                 change the ledger, and one that reads. Nobody can change or delete rows of the ledger.",
            ),
        ],
    ),
    (
        "EXAMPLES",
        &[
            ("quittance demo", "A month in a minute on SQLite."),
            ("quittance account add acme --name \"Acme Ltd\"", "Add an account."),
            ("quittance account top-up acme 100 --reference bank-4711", "Take in money, once a reference."),
            ("quittance ingest messages sent.csv", "Hand in what a gateway sent, once a content."),
            ("quittance --run-job aggregate-charges", "Charge all that waits; cron may do this."),
            ("quittance explain message acme MESSAGE_ID", "How a message came to be charged."),
            ("quittance status --json", "What waits and why, for scripts."),
            (
                "sudo -u postgres quittance migrate --roles quittance --database postgres:///quittance",
                "Make the schema and its roles on PostgreSQL.",
            ),
        ],
    ),
];
