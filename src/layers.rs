//! The test that the drawing of the modules at the top of `lib.rs` matches the code.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The modules in the order of the drawing, each with the modules that it uses.
type Arrows = Vec<(String, BTreeSet<String>)>;

#[test]
fn the_drawing_of_the_modules_is_true() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let library = fs::read_to_string(source.join("lib.rs")).expect("lib.rs can be read");
    let faults = differences(&drawn(&library), &found(&source));
    assert!(faults.is_empty(), "the drawing in src/lib.rs is not true:\n{}", faults.join("\n"));
}

#[test]
fn an_arrow_that_is_missing_idle_or_upward_is_named() {
    let arrows = |text: &str| drawn(&format!("//! ```text\n{text}//! ```\n"));
    let drawing = arrows("//! front → auth, config\n//! auth → config\n//! config →\n");
    let code = |text: &str| arrows(text).into_iter().collect::<BTreeMap<_, _>>();
    assert!(differences(&drawing, &code("//! front → auth, config\n//! auth → config\n//! config →\n")).is_empty());
    let planted = code("//! front → auth\n//! auth → config, front\n//! config →\n//! queue →\n");
    assert_eq!(
        differences(&drawing, &planted),
        [
            "front → config is drawn, and no line of front uses config",
            "auth → front is not drawn",
            "queue is not drawn",
        ]
    );
    let upward = arrows("//! auth → front\n//! front →\n//! config → front\n");
    let found = code("//! auth → front\n//! front →\n//! config → front\n");
    assert_eq!(differences(&upward, &found), ["config → front points up: front stands above config"]);
}

/// Reads the first drawing in the library's documentation. A line without an arrow continues the line before it. A line
/// with several modules before its arrow counts as one line for each module.
fn drawn(library: &str) -> Arrows {
    let lines = library.lines().filter_map(|line| line.strip_prefix("//!").map(str::trim));
    let drawing = lines.skip_while(|line| *line != "```text").skip(1).take_while(|line| *line != "```");
    let mut arrows = Arrows::new();
    for line in drawing {
        match line.split_once('→') {
            Some((modules, uses)) => {
                let uses: BTreeSet<String> = names(uses).collect();
                arrows.extend(names(modules).map(|module| (module, uses.clone())));
            }
            None => {
                if let Some((_, uses)) = arrows.last_mut() {
                    uses.extend(names(line));
                }
            }
        }
    }
    arrows
}

/// Splits a list at its commas.
fn names(list: &str) -> impl Iterator<Item = String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Finds the modules that each top-level module names after `crate::`, its tests included.
fn found(source: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    for entry in fs::read_dir(source).expect("src can be listed") {
        let path = entry.expect("an entry of src can be read").path();
        let module = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        if !["lib", "main", "layers"].contains(&module.as_str()) {
            read(&path, &module, found.entry(module.clone()).or_default());
        }
    }
    found
}

fn read(path: &Path, module: &str, uses: &mut BTreeSet<String>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a directory of src can be listed") {
            read(&entry.expect("an entry of src can be read").path(), module, uses);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        let text = fs::read_to_string(path).expect("a source file can be read");
        let code = text.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
        for line in code {
            let named = line
                .split("crate::")
                .skip(1)
                .map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or_default());
            uses.extend(named.filter(|name| !name.is_empty() && *name != module).map(str::to_owned));
        }
    }
}

/// Returns a sentence for each arrow that is only drawn, that is only in the code, or that points up.
fn differences(drawing: &Arrows, code: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut faults = Vec::new();
    let nothing = BTreeSet::new();
    for (index, (module, drawn)) in drawing.iter().enumerate() {
        let found = code.get(module).unwrap_or(&nothing);
        for name in drawn.difference(found) {
            faults.push(format!("{module} → {name} is drawn, and no line of {module} uses {name}"));
        }
        for name in found.difference(drawn) {
            faults.push(format!("{module} → {name} is not drawn"));
        }
        for name in drawn.iter().filter(|name| drawing[..index].iter().any(|(above, _)| above == *name)) {
            faults.push(format!("{module} → {name} points up: {name} stands above {module}"));
        }
    }
    let is_drawn = |module: &str| drawing.iter().any(|(drawn, _)| drawn == module);
    faults.extend(code.keys().filter(|module| !is_drawn(module)).map(|module| format!("{module} is not drawn")));
    faults
}
