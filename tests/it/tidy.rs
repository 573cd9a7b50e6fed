//! The rules of the tree, as tests: sizes, bans with their replacements, and who may know whom.
//!
//! One run names every fault of the tree at once. Comments and the insides of strings are no code,
//! so a rule may be written about, and this file may name what it forbids.

use std::fs;
use std::path::Path;

#[test]
fn the_tree_keeps_its_rules() {
    let tree = Tree::read(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(tree.files.len() > 10, "the tree was not found: {} files", tree.files.len());
    let faults = tree.faults();
    assert!(faults.is_empty(), "{} places break a rule of the tree:\n{}", faults.len(), faults.join("\n"));
}

const FILE_LINES: &[(&str, usize)] = &[("src/", 500), ("tests/", 700)];
const FUNCTION_LINES: usize = 90;
const LINE_CHARS: usize = 120;

/// Where a ban holds.
enum Place {
    /// All code below this path.
    In(&'static str),
    /// All code of `src` but below this path.
    OutsideOf(&'static str),
    /// The code of `src` that is no test.
    Product,
    Everywhere,
}

use Place::{Everywhere, In, OutsideOf, Product};

/// What may not be written where, and what to write instead.
const BANS: &[(&str, Place, &str)] = &[
    ("f32", In("src/domain/"), "money is Micros and counts are i64"),
    ("f64", In("src/domain/"), "money is Micros and counts are i64"),
    ("todo!(", Product, "build it, or refuse it with a named error"),
    ("unimplemented!(", Product, "build it, or refuse it with a named error"),
    ("unreachable!(", Product, "make the state impossible by its type, or return an error"),
    ("panic!(", Product, "return an error: one bad account is parked, the others go on"),
    (".unwrap()", Product, "return the error with `?`"),
    (".expect(", Product, "return the error with `?`"),
    ("dbg!(", Product, "log with tracing"),
    ("Utc::now", OutsideOf("src/clock.rs"), "time is an argument: take it from clock.rs"),
    ("Local::now", OutsideOf("src/clock.rs"), "time is an argument: take it from clock.rs"),
    ("SystemTime::now", OutsideOf("src/clock.rs"), "time is an argument: take it from clock.rs"),
    ("Instant::now", OutsideOf("src/clock.rs"), "time is an argument: take it from clock.rs"),
    ("sqlx", OutsideOf("src/store/"), "only src/store speaks to databases: give it a function there"),
    ("#[allow(", Everywhere, "mend what the lint says"),
    ("#![allow(", Everywhere, "mend what the lint says"),
    ("#[ignore", Everywhere, "run the test or delete it"),
];

/// Which modules of the crate the code below a path may not name.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("src/ingest", &["notify", "export", "store"]),
    ("src/notify", &["ingest", "export", "store"]),
    ("src/export", &["ingest", "notify", "store"]),
    ("src/store", &["jobs", "cli", "ingest", "runner", "daemon"]),
    ("src/intake", &["spool", "jobs", "desk", "runner", "daemon", "cli"]),
    ("src/spool", &["store", "intake", "jobs", "desk", "runner", "daemon", "cli"]),
    ("src/jobs", &["cli", "daemon"]),
];

/// The text files of the repository that rules are about, in the order of their paths.
struct Tree {
    files: Vec<File>,
}

struct File {
    /// From the root of the repository, with `/`.
    path: String,
    text: String,
}

impl Tree {
    fn read(root: &Path) -> Tree {
        let mut tree = Tree { files: Vec::new() };
        for top in ["src", "tests", "migrations"] {
            tree.add(root, top);
        }
        tree
    }

    fn add(&mut self, root: &Path, path: &str) {
        let full = root.join(path);
        if full.is_dir() {
            let entries = fs::read_dir(&full).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
            names.sort();
            for name in names {
                self.add(root, &format!("{path}/{name}"));
            }
        } else if let Ok(text) = fs::read_to_string(&full) {
            self.files.push(File { path: path.to_owned(), text });
        }
    }

    fn faults(&self) -> Vec<String> {
        let mut faults = unlisted_scenarios(&self.files);
        for file in &self.files {
            if file.path.ends_with(".rs") {
                let code = Code::of(file);
                faults.extend(oversized(&code));
                faults.extend(banned(&code));
                faults.extend(wrong_direction(&code));
            }
            if file.path.ends_with(".sql") && file.text.contains('\r') {
                faults.push(format!("CR in {}: SQL files end lines with LF only", file.path));
            }
        }
        faults
    }
}

/// Every scenario stands in the README that clerks read.
fn unlisted_scenarios(files: &[File]) -> Vec<String> {
    let readme = files.iter().find(|f| f.path == "tests/scenarios/README.md").map_or("", |f| &f.text);
    let names = files.iter().filter_map(|f| f.path.strip_prefix("tests/scenarios/"));
    let scenarios = names.filter_map(|name| {
        let file = name.rsplit('/').next()?;
        name.strip_suffix(".scn").or((!file.contains('.')).then_some(name))
    });
    scenarios
        .filter(|name| !contains_word(readme, name, |c| c.is_alphanumeric() || "-_/".contains(c)))
        .map(|name| {
            format!("tests/scenarios/{name} is not listed in tests/scenarios/README.md: say what it shows")
        })
        .collect()
}

fn oversized(code: &Code) -> Vec<String> {
    let path = &code.file.path;
    let mut faults = Vec::new();
    let lines = code.file.text.lines().count();
    for (top, most) in FILE_LINES {
        if path.starts_with(top) && lines > *most {
            faults
                .push(format!("{path} has {lines} lines, over {most}: which noun wants a file of its own?"));
        }
    }
    for (first, last) in code.functions() {
        let lines = last - first + 1;
        if lines > FUNCTION_LINES {
            faults.push(format!(
                "{path}:{first}: a function of {lines} lines, over {FUNCTION_LINES}: name its steps"
            ));
        }
    }
    for (n, (line, bare)) in (1..).zip(code.file.text.lines().zip(&code.lines)) {
        let chars = line.chars().count();
        // A line of nothing but a string can't be broken by the formatter.
        let only_a_string = line.contains('"') && bare.chars().filter(|c| !c.is_whitespace()).count() <= 4;
        if chars > LINE_CHARS && !only_a_string {
            faults.push(format!("{path}:{n}: {chars} characters, over {LINE_CHARS}: break the line"));
        }
    }
    faults
}

fn banned(code: &Code) -> Vec<String> {
    let path = &code.file.path;
    let mut faults = Vec::new();
    for (n, line) in (1..).zip(&code.lines) {
        for (word, place, instead) in BANS {
            let holds = match place {
                In(top) => path.starts_with(top),
                OutsideOf(top) => path.starts_with("src/") && !path.starts_with(top),
                Product => path.starts_with("src/") && !code.is_test[n - 1],
                Everywhere => true,
            };
            if holds && contains_word(line, word, is_word) {
                faults.push(format!("`{word}` in {path}:{n}: {instead}"));
            }
        }
    }
    faults
}

fn wrong_direction(code: &Code) -> Vec<String> {
    let path = &code.file.path;
    let below = |top: &str| path.strip_prefix(top).is_some_and(|rest| rest.starts_with(['/', '.']));
    let mut faults = Vec::new();
    for (n, module) in code.crate_modules() {
        if below("src/domain") && module != "domain" {
            faults.push(format!(
                "`crate::{module}` in {path}:{n}: the domain knows nothing outside: pass a value"
            ));
        }
        for (top, unknown) in DIRECTIONS {
            if below(top) && unknown.contains(&module.as_str()) {
                faults.push(format!("`crate::{module}` in {path}:{n}: {top} does not know it: pass a value"));
            }
        }
    }
    faults
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `word` stands in `text` and is no part of a longer word.
fn contains_word(text: &str, word: &str, is_word: impl Fn(char) -> bool) -> bool {
    let joins = |a: Option<char>, b: Option<char>| a.is_some_and(&is_word) && b.is_some_and(&is_word);
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        !joins(before.chars().last(), word.chars().next())
            && !joins(word.chars().last(), after.chars().next())
    })
}

/// The lines of a Rust file without comments and without the insides of strings.
struct Code<'a> {
    file: &'a File,
    lines: Vec<String>,
    is_test: Vec<bool>,
}

impl Code<'_> {
    fn of(file: &File) -> Code<'_> {
        let lines: Vec<String> = bare(&file.text).lines().map(str::to_owned).collect();
        let is_test = test_lines(&file.path, &lines);
        Code { file, lines, is_test }
    }

    /// First and last line of each function with a body.
    fn functions(&self) -> Vec<(usize, usize)> {
        let starts = (0..self.lines.len()).filter(|&n| starts_function(&self.lines[n]));
        starts.filter_map(|n| Some((n + 1, n + 1 + body_end(&self.lines[n..])?))).collect()
    }

    /// The modules named right after `crate::`, each with its line, also those of a group in braces.
    fn crate_modules(&self) -> Vec<(usize, String)> {
        let text = self.lines.join("\n");
        let mut found = Vec::new();
        for (at, start) in text.match_indices("crate::") {
            let rest = &text[at + start.len()..];
            let line = text[..at].matches('\n').count() + 1;
            match rest.strip_prefix('{') {
                Some(group) => found.extend(group_members(group).into_iter().map(|name| (line, name))),
                None => found.push((line, leading_word(rest))),
            }
        }
        found
    }
}

fn leading_word(text: &str) -> String {
    text.trim_start().chars().take_while(|c| is_word(*c)).collect()
}

/// The first words of the members of `a::b, c::{d, e}}` up to its closing brace: `a` and `c`.
fn group_members(group: &str) -> Vec<String> {
    let mut members = vec![leading_word(group)];
    let mut depth = 1;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => members.push(leading_word(&group[at + 1..])),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    members.retain(|name| !name.is_empty());
    members
}

fn starts_function(line: &str) -> bool {
    let before = line.trim_start().split("fn ").next().unwrap_or("");
    let qualifiers = before.split_whitespace().all(|word| {
        ["const", "async", "unsafe", "extern"].contains(&word) || word.starts_with("pub") || word == "\"\""
    });
    line.contains("fn ") && qualifiers
}

/// How many lines further the body that begins in the first line closes; None for a declaration.
fn body_end(lines: &[String]) -> Option<usize> {
    let (mut braces, mut brackets) = (0, 0);
    for (n, line) in lines.iter().enumerate() {
        for c in line.chars() {
            match c {
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets -= 1,
                '{' => braces += 1,
                '}' => braces -= 1,
                ';' if braces == 0 && brackets == 0 => return None,
                _ => {}
            }
            if c == '}' && braces == 0 {
                return Some(n);
            }
        }
    }
    None
}

/// Marks the items under `#[cfg(test)]`, and whole files named for tests.
fn test_lines(path: &str, lines: &[String]) -> Vec<bool> {
    let whole = path.ends_with("/tests.rs") || path.contains("/tests/") || path.starts_with("tests/");
    let mut marks = vec![whole; lines.len()];
    for n in 0..lines.len() {
        if lines[n].trim() == "#[cfg(test)]" {
            let item = &lines[n + 1..];
            let length = body_end(item).unwrap_or(0) + 2;
            marks[n..(n + length).min(lines.len())].fill(true);
        }
    }
    marks
}

/// Blanks comments, the insides of strings and characters, and keeps the line breaks.
fn bare(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (skipped, kept) = match c {
            '/' if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), ""),
            '/' if rest.starts_with("/*") => (block_comment(rest), ""),
            '"' => (string(rest), "\"\""),
            '\'' => match character(rest) {
                0 => (1, "'"),
                length => (length, "' '"),
            },
            'r' if !out.ends_with(is_word) && raw_string(rest) > 0 => (raw_string(rest), "\"\""),
            _ => (c.len_utf8(), &rest[..c.len_utf8()]),
        };
        out.push_str(kept);
        if skipped > c.len_utf8() {
            out.extend(rest[..skipped].chars().filter(|c| *c == '\n'));
        }
        rest = &rest[skipped..];
    }
    out
}

fn block_comment(text: &str) -> usize {
    text.find("*/").map_or(text.len(), |end| end + 2)
}

/// The length of the string literal that begins `text`.
fn string(text: &str) -> usize {
    let mut escaped = false;
    let end = text.char_indices().skip(1).find(|(_, c)| {
        let closes = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        closes
    });
    end.map_or(text.len(), |(at, _)| at + 1)
}

/// The length of the raw string that begins `text`, 0 where none does.
fn raw_string(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    if !text[1 + hashes..].starts_with('"') {
        return 0;
    }
    let closing = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    text[body..].find(&closing).map_or(text.len(), |end| body + end + closing.len())
}

/// The length of the character literal that begins `text`, 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        // What is escaped may be the quote itself, so the closing one is looked for behind it.
        Some((_, '\\')) => text[3..].find('\'').map_or(0, |end| 3 + end + 1),
        Some(_) => chars.next().filter(|(_, c)| *c == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

mod checks_can_fail {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    fn faults(path: &str, text: &str) -> Vec<String> {
        Tree { files: vec![file(path, text)] }.faults()
    }

    #[test]
    fn a_ban_names_its_place_and_its_replacement() {
        let text = "fn a() {\n    let x: f64 = 1.0;\n}\n";
        let expected = "`f64` in src/domain/x.rs:2: money is Micros and counts are i64";
        assert_eq!(faults("src/domain/x.rs", text), [expected]);
        assert!(faults("src/notify/x.rs", text).is_empty());
    }

    #[test]
    fn every_ban_is_found_in_code_but_not_in_comments_strings_or_longer_words() {
        for (word, ..) in BANS {
            let path = if word.starts_with('f') { "src/domain/x.rs" } else { "src/runner.rs" };
            assert_eq!(faults(path, &format!("{word}\n")).len(), 1, "{word}");
            let quoted =
                format!("/// {word}\n/* {word} */ let a = \"{word} \\\" {word}\";\nlet b = r#\"{word}\"#;\n");
            assert!(faults(path, &quoted).is_empty(), "{word}");
            if word.starts_with(is_word) {
                assert!(faults(path, &format!("my_{word}\n")).is_empty(), "{word}");
            }
        }
    }

    #[test]
    fn tests_may_unwrap_and_the_code_behind_them_may_not() {
        let tests = "#[cfg(test)]\nmod tests {\n    fn t() {\n        a.unwrap();\n    }\n}\n";
        let text = &format!("{tests}fn b() {{\n    c.unwrap();\n}}\n");
        assert_eq!(
            faults("src/jobs/x.rs", text),
            ["`.unwrap()` in src/jobs/x.rs:8: return the error with `?`"]
        );
        assert!(faults("src/jobs/tests.rs", "fn b() {\n    c.unwrap();\n}\n").is_empty());
        let import = "#[cfg(test)]\nuse a::b;\nfn c() {\n    d.unwrap();\n}\n";
        assert_eq!(faults("src/jobs/x.rs", import).len(), 1);
    }

    #[test]
    fn some_words_have_one_home() {
        assert!(faults("src/clock.rs", "let t = Utc::now();\n").is_empty());
        assert_eq!(faults("src/daemon.rs", "let t = std::time::Instant::now();\n").len(), 1);
        assert!(faults("src/store/bills.rs", "use sqlx::Row;\n").is_empty());
        assert_eq!(faults("src/jobs/bills.rs", "use sqlx::Row;\n").len(), 1);
        assert!(faults("tests/it/store.rs", "use sqlx::Row;\n").is_empty());
    }

    #[test]
    fn modules_know_only_what_they_may() {
        let count = |path, text| faults(path, text).len();
        assert_eq!(count("src/domain/plan.rs", "use crate::store::Db;\n"), 1);
        assert_eq!(count("src/domain/plan.rs", "use crate::domain::money::Micros;\n"), 0);
        assert_eq!(
            count("src/export/csv.rs", "use crate::{\n    domain::bill,\n    store::{notify, bills},\n};\n"),
            1
        );
        assert_eq!(count("src/export.rs", "fn a(b: crate::ingest::Row) {}\n"), 1);
        assert_eq!(count("src/exports.rs", "fn a(b: crate::ingest::Row) {}\n"), 0);
        assert_eq!(count("src/store/bills.rs", "use crate::{jobs::bills, runner};\n"), 2);
        assert_eq!(count("src/jobs/bills.rs", "use crate::{cli, domain, store};\n"), 1);
    }

    #[test]
    fn sizes_have_bounds() {
        let long_file = |lines: usize| "const A: u8 = 1;\n".repeat(lines);
        assert!(faults("src/a.rs", &long_file(500)).is_empty());
        assert_eq!(faults("src/a.rs", &long_file(501)).len(), 1);
        assert!(faults("tests/it/a.rs", &long_file(700)).is_empty());
        assert_eq!(faults("tests/it/a.rs", &long_file(701)).len(), 1);

        let body = |lines: usize| {
            format!("    pub async fn a() {{\n{}    }}\n", "        b('{', \"}\");\n".repeat(lines))
        };
        assert!(faults("src/a.rs", &body(88)).is_empty());
        let expected = "src/a.rs:1: a function of 91 lines, over 90: name its steps";
        assert_eq!(faults("src/a.rs", &body(89)), [expected]);
        let declarations =
            format!("trait A {{\n    fn a(b: [u8; 4]);\n{}}}\n", "    const C: u8;\n".repeat(95));
        assert!(faults("src/a.rs", &declarations).is_empty());

        let wide = "a".repeat(121);
        assert_eq!(faults("src/a.rs", &format!("// {wide}\n")).len(), 1);
        assert_eq!(faults("src/a.rs", &format!("let {wide} = \"\";\n")).len(), 1);
        assert!(faults("src/a.rs", &format!("    \"{wide}\",\n")).is_empty());
    }

    #[test]
    fn sql_has_unix_line_ends() {
        assert_eq!(faults("migrations/1_a.sql", "select 1;\r\n").len(), 1);
        assert!(faults("migrations/1_a.sql", "select 1;\n").is_empty());
    }

    #[test]
    fn scenarios_are_listed_for_clerks() {
        let unlisted = |readme: &str| {
            let readme = file("tests/scenarios/README.md", readme);
            let scenarios = ["rating/tiers.scn", "refunds/order", "tables/length.table", "refunds/.keep"];
            let mut files: Vec<File> = scenarios.map(|s| file(&format!("tests/scenarios/{s}"), "")).into();
            files.push(readme);
            unlisted_scenarios(&files).len()
        };
        assert_eq!(unlisted("- `rating/tiers.scn`: x\n- refunds/order: y\n"), 0);
        assert_eq!(unlisted("- `rating/tiers`\n- refunds/order-of-two: y\n"), 1);
        assert_eq!(unlisted(""), 2);
    }

    #[test]
    fn quotes_and_lifetimes_are_told_apart() {
        assert_eq!(bare("a<'b>('\\'', '\"', \"c\") // d"), "a<'b>(' ', ' ', \"\") ");
        assert_eq!(bare("r\"a\nb\" c"), "\"\"\n c");
        assert_eq!(bare("'b: for _ in \"\\\\\" {}"), "'b: for _ in \"\" {}");
    }
}
