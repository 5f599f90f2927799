//! The simple commands of a shell script, without running it.
//!
//! Understood are quotes, continued lines, comments, variables, command substitution, pipes and lists, redirections and
//! here-documents. That is what the examples of the documentation use; it is not a shell.

use std::iter::Peekable;
use std::str::Chars;

/// Words before a command that are not part of it.
const BEFORE: [&str; 9] = ["{", "}", "!", "if", "then", "while", "do", "sudo", "time"];

/// Returns the words of each simple command, also of those inside `$(…)`, which come before the command around them.
/// Quotes are removed; variables and substitutions stay as they are written. Assignments before a command are left out.
pub fn commands(script: &str) -> Vec<Vec<String>> {
    let joined = script.replace("\\\n", "");
    let mut reader = Reader { rest: joined.chars().peekable(), commands: Vec::new(), documents: Vec::new() };
    while reader.rest.peek().is_some() {
        // The end of a script that has one `)` too many.
        reader.list();
    }
    reader.commands
}

struct Reader<'s> {
    rest: Peekable<Chars<'s>>,
    commands: Vec<Vec<String>>,
    /// The ends of the here-documents that begin after this line.
    documents: Vec<String>,
}

impl Reader<'_> {
    /// Reads commands up to the end or to a `)` that no `(` precedes.
    fn list(&mut self) {
        let mut words: Vec<String> = Vec::new();
        while let Some(next) = self.rest.peek().copied() {
            match next {
                ' ' | '\t' => {
                    self.rest.next();
                }
                '#' => self.skip_line(),
                '\n' => {
                    self.rest.next();
                    self.end(&mut words);
                    self.skip_documents();
                }
                ';' | '|' | '&' => {
                    self.rest.next();
                    self.end(&mut words);
                }
                '(' => {
                    self.rest.next();
                    self.end(&mut words);
                    self.list();
                }
                ')' => {
                    self.rest.next();
                    break;
                }
                '<' | '>' => self.redirection(),
                _ => {
                    let word = self.word();
                    // As in `2>`.
                    let is_descriptor = matches!(self.rest.peek(), Some('<' | '>')) && is_number(&word);
                    if !is_descriptor {
                        words.push(word);
                    }
                }
            }
        }
        self.end(&mut words);
    }

    fn end(&mut self, words: &mut Vec<String>) {
        let is_before = |word: &&String| BEFORE.contains(&word.as_str()) || is_assignment(word);
        let before = words.iter().take_while(is_before).count();
        let command: Vec<String> = words.drain(..).skip(before).collect();
        if !command.is_empty() {
            self.commands.push(command);
        }
    }

    /// Reads a word up to a space or an operator that is not quoted.
    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(next) = self.rest.peek().copied() {
            match next {
                ' ' | '\t' | '\n' | ';' | '|' | '&' | '(' | ')' | '<' | '>' => break,
                '\\' => {
                    self.rest.next();
                    word.extend(self.rest.next());
                }
                '\'' => {
                    self.rest.next();
                    word.extend(self.rest.by_ref().take_while(|next| *next != '\''));
                }
                '"' => {
                    self.rest.next();
                    self.quoted(&mut word);
                }
                _ => self.plain(&mut word),
            }
        }
        word
    }

    /// Reads up to the closing `"`.
    fn quoted(&mut self, word: &mut String) {
        while let Some(next) = self.rest.peek().copied() {
            match next {
                '"' => {
                    self.rest.next();
                    return;
                }
                '\\' => {
                    self.rest.next();
                    match self.rest.next() {
                        None => {}
                        Some(escaped @ ('"' | '\\' | '$' | '`')) => word.push(escaped),
                        Some(other) => word.extend(['\\', other]),
                    }
                }
                _ => self.plain(word),
            }
        }
    }

    /// Reads one character, or a substitution, whose commands are read as well.
    fn plain(&mut self, word: &mut String) {
        let Some(character) = self.rest.next() else { return };
        word.push(character);
        if character == '$' && self.rest.next_if_eq(&'(').is_some() {
            word.push_str("(…)");
            self.list();
        }
    }

    fn redirection(&mut self) {
        let mut operator = String::new();
        while let Some(next) = self.rest.next_if(|next| matches!(next, '<' | '>' | '&' | '-')) {
            operator.push(next);
        }
        // `>&-` closes a descriptor and has no target.
        if operator.ends_with("&-") {
            return;
        }
        while self.rest.next_if(|next| matches!(next, ' ' | '\t')).is_some() {}
        let target = self.word();
        if operator == "<<" || operator == "<<-" {
            self.documents.push(target);
        }
    }

    fn skip_line(&mut self) {
        while self.rest.next_if(|next| *next != '\n').is_some() {}
    }

    fn skip_documents(&mut self) {
        for end in std::mem::take(&mut self.documents) {
            while self.rest.peek().is_some() {
                let line: String = self.rest.by_ref().take_while(|next| *next != '\n').collect();
                if line.trim_start_matches('\t') == end {
                    break;
                }
            }
        }
    }
}

fn is_number(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_assignment(word: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    word.split_once('=').is_some_and(|(name, _)| is_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(script: &str) -> Vec<String> {
        commands(script).into_iter().map(|words| words.join("|")).collect()
    }

    #[test]
    fn words_are_divided_and_unquoted_as_a_shell_does_it() {
        assert_eq!(read("a 'b c' \"d $e \\\"f\\\"\" g\\ h''\na ''\n"), ["a|b c|d $e \"f\"|g h", "a|"]);
        assert_eq!(read("a b \\\n    c # d\n# e\nf#g\n"), ["a|b|c", "f#g"]);
        assert_eq!(read("a -d '{\"b\": \"'$C'\"}'"), ["a|-d|{\"b\": \"$C\"}"]);
    }

    #[test]
    fn every_command_of_pipes_lists_and_substitutions_is_found() {
        assert_eq!(read("a | b && c || d; e & f"), ["a", "b", "c", "d", "e", "f"]);
        assert_eq!(read("A=1 B=$(b \"$(c d)\" | e) f \"x$(g)\""), ["c|d", "b|$(…)", "e", "g", "f|x$(…)"]);
        assert_eq!(read("A=$(a)\nexport B=$(b)"), ["a", "b", "export|B=$(…)"]);
        assert_eq!(
            read("for i in 1 2; do a $i & done\nif b; then c; fi\n(d; e) f"),
            ["for|i|in|1|2", "a|$i", "done", "b", "c", "fi", "d", "e", "f"]
        );
        assert_eq!(read("sudo a\n! b"), ["a", "b"]);
    }

    #[test]
    fn redirections_and_here_documents_are_left_out() {
        assert_eq!(read("a 2> b & C=$!\nd <e >>f 2>&1 g"), ["a", "d|g"]);
        assert_eq!(read("cat > a <<'END'\nb $(c)\nEND\nd <<E\ne\nE\n"), ["cat", "d"]);
    }
}
