//! The JSON blocks of the documentation: each is a service file, a gateway's file or plain JSON without mistakes.

use bulkhead_pages::markdown::Block;

use super::*;

#[test]
fn every_json_block_of_the_documentation_is_what_it_is_meant_as() {
    let mut faults = Vec::new();
    let mut seen = 0;
    for page in bulkhead_pages::all() {
        for block in page.blocks().into_iter().filter(|block| block.is("json") && !block.is_marked("fragment")) {
            seen += 1;
            if let Err(mistakes) = judge(&block) {
                faults.push(format!("{}:{}: {mistakes}", page.path, block.line));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen > 1, "the documentation has examples");
}

/// A file for a gateway has `clusters` or `routes`, a service file the key of its processor. A block that is neither is
/// marked `json,plain`, so that a service file without that key does not pass for one.
fn judge(block: &Block) -> Result<(), String> {
    let value: Value = serde_json::from_str(&block.text).map_err(|error| error.to_string())?;
    let has = |key: &str| value.get(key).is_some();
    if block.is_marked("plain") {
        Ok(())
    } else if has("clusters") || has("routes") {
        GatewaySpec::parse(&block.text).map(drop).map_err(|mistakes| mistakes.to_string())
    } else {
        let file = ServiceFile::parse(&block.text);
        file.map(drop).map_err(|mistakes| {
            format!("{mistakes}\n(a part of a file is marked `json,fragment`, other JSON `json,plain`)")
        })
    }
}

#[test]
fn a_block_is_judged_by_its_keys_and_its_mark() {
    let block = |info: &str, text: &str| Block { info: Some(info.to_owned()), line: 1, text: text.to_owned() };
    let service = r#"{"name": "a", "processor_path": "a.wasm"}"#;
    let gateway = r#"{"clusters": {"a": {"upstreams": ["h:1"]}}, "routes": {"*": "a"}}"#;
    for (info, text) in [("json", service), ("json", gateway), ("json,plain", r#"{"any": 1}"#)] {
        assert_eq!(judge(&block(info, text)), Ok(()));
    }
    for (info, text, told) in [
        ("json", r#"{"name": "a"}"#, "processor_path: missing"),
        ("json", r#"{"name": "a", "processor_pth": "a.wasm"}"#, "did you mean processor_path?"),
        ("json", r#"{"clusters": {}, "routes": {"*": "a"}}"#, "clusters: found no name"),
        ("json,plain", "{", "EOF"),
    ] {
        let mistakes = judge(&block(info, text)).unwrap_err();
        assert!(mistakes.contains(told), "{mistakes}");
    }
}
