//! Headings, links and blocks of a Markdown page, as far as the pages of this repository use them.

use std::collections::HashMap;

/// A fenced or an indented block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The words after the opening fence, such as `json,fragment`. `None` for an indented block.
    pub info: Option<String>,
    /// The number of its first line in the page.
    pub line: usize,
    pub text: String,
}

impl Block {
    /// True for a fenced block in this language.
    pub fn is(&self, language: &str) -> bool {
        self.info.as_deref().and_then(|info| info.split(',').next()) == Some(language)
    }

    /// True for a fenced block whose language is followed by this mark.
    pub fn is_marked(&self, mark: &str) -> bool {
        self.info.as_deref().is_some_and(|info| info.split(',').skip(1).any(|word| word == mark))
    }
}

/// A link to something in this repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub line: usize,
    /// The file or directory as written; empty for the page itself.
    pub file: String,
    /// The heading, without `#`; empty if the link names none.
    pub anchor: String,
}

/// A line of a page, and whether it belongs to a block.
enum Line<'t> {
    Text(&'t str),
    /// The line that opens a fenced block, with the words after the fence.
    Opens(&'t str),
    Fenced(&'t str),
    Closes,
    Indented(&'t str),
}

/// Returns the lines with their numbers. An indented block begins after an empty line that no list precedes.
fn lines(text: &str) -> Vec<(usize, Line<'_>)> {
    let mut fence: Option<&str> = None;
    let (mut may_indent, mut in_list) = (true, false);
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let kind = match fence {
            Some(open) if trimmed.trim_end() == open => {
                fence = None;
                Line::Closes
            }
            Some(_) => Line::Fenced(line),
            None if trimmed.starts_with("```") => {
                fence = Some("```");
                Line::Opens(trimmed.trim_start_matches('`').trim())
            }
            None if may_indent && !in_list && line.starts_with("    ") => Line::Indented(&line[4..]),
            None => Line::Text(line),
        };
        let is_item =
            trimmed.starts_with("- ") || trimmed.split_once(". ").is_some_and(|(number, _)| is_number(number));
        in_list = is_item || in_list && (trimmed.is_empty() || line.starts_with(' '));
        may_indent = trimmed.is_empty() || matches!(kind, Line::Indented(_));
        lines.push((index + 1, kind));
    }
    lines
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the blocks of a page. Empty lines inside an indented block divide it.
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    for (number, line) in lines(text) {
        let (info, content) = match line {
            Line::Opens(info) => {
                blocks.push(Block { info: Some(info.to_owned()), line: number + 1, text: String::new() });
                is_open = true;
                continue;
            }
            Line::Text(_) | Line::Closes => {
                is_open = false;
                continue;
            }
            Line::Fenced(line) => (Some(String::new()), line),
            Line::Indented(line) => (None, line),
        };
        if !is_open {
            blocks.push(Block { info, line: number, text: String::new() });
            is_open = true;
        }
        if let Some(block) = blocks.last_mut() {
            block.text.push_str(content);
            block.text.push('\n');
        }
    }
    blocks
}

/// Returns the anchors of the headings, as code hosts and mdBook make them.
pub fn anchors(text: &str) -> Vec<String> {
    let mut seen = HashMap::<String, usize>::new();
    let mut anchors = Vec::new();
    for (_, line) in lines(text) {
        let Line::Text(line) = line else { continue };
        let heading = line.trim_start_matches('#');
        let level = line.len() - heading.len();
        if !(1..=6).contains(&level) || !heading.starts_with(' ') {
            continue;
        }
        let anchor = anchor(heading.trim());
        let count = seen.entry(anchor.clone()).or_default();
        anchors.push(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
        *count += 1;
    }
    anchors
}

/// The anchor of a heading: small letters, digits, `-` and `_`, with `-` for each space.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Returns the links that have no scheme. Links in code are left out.
pub fn links(text: &str) -> Vec<Link> {
    let mut links = Vec::new();
    let mut in_code = false;
    for (number, line) in lines(text) {
        let Line::Text(line) = line else { continue };
        if line.trim().is_empty() {
            in_code = false;
        }
        let prose = without_code(line, &mut in_code);
        let inline = prose.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
        let defined = prose.strip_prefix('[').and_then(|rest| rest.split_once("]: ")).map(|(_, target)| target.trim());
        for target in inline.chain(defined).filter(|target| !target.contains("://") && !target.starts_with("mailto:")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            links.push(Link { line: number, file: file.to_owned(), anchor: anchor.to_owned() });
        }
    }
    links
}

/// The line without its code spans, which may continue from the line before.
fn without_code(line: &str, in_code: &mut bool) -> String {
    let mut prose = String::new();
    for (index, part) in line.split('`').enumerate() {
        if index > 0 {
            *in_code = !*in_code;
        }
        if !*in_code {
            prose.push_str(part);
        }
    }
    prose
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_fenced_or_indented() {
        let page = "# A\n\n```sh\necho 1\n\necho 2\n```\n\ntext\n\n    make\n    make test\n\n- item\n\n      not code\n\n```json,fragment\n\"a\": 1\n```\n";
        let found: Vec<_> = blocks(page).into_iter().map(|block| (block.info, block.line, block.text)).collect();
        assert_eq!(
            found,
            [
                (Some("sh".into()), 4, "echo 1\n\necho 2\n".into()),
                (None, 11, "make\nmake test\n".into()),
                (Some("json,fragment".into()), 19, "\"a\": 1\n".into()),
            ]
        );
        let marked = Block { info: Some("json,fragment".into()), line: 1, text: String::new() };
        assert!(
            marked.is("json") && marked.is_marked("fragment") && !marked.is("fragment") && !marked.is_marked("json")
        );
    }

    #[test]
    fn anchors_are_those_of_code_hosts() {
        let page = "# Keep crashed guests: `runtime.enable_crash_block`\n## 413, 414\n## Go back\n```sh\n# no heading\n```\n## Go back\n";
        assert_eq!(anchors(page), ["keep-crashed-guests-runtimeenable_crash_block", "413-414", "go-back", "go-back-1"]);
    }

    #[test]
    fn links_are_found_outside_code() {
        let page = "[a](b.md#c) [d](https://e) `[f](g)` [h\ni](../j.md) [k](#l)\n\n```text\n[m](n)\n```\n[o]: p.md\n`code\n[q](r)` [s](t)\n";
        let found: Vec<_> = links(page).into_iter().map(|link| (link.line, link.file, link.anchor)).collect();
        let link = |line, file: &str, anchor: &str| (line, file.to_owned(), anchor.to_owned());
        assert_eq!(
            found,
            [link(1, "b.md", "c"), link(2, "../j.md", ""), link(2, "", "l"), link(7, "p.md", ""), link(9, "t", "")]
        );
    }
}
