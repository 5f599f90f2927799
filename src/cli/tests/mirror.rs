//! Tests of `mirror`.

use serde_json::{Value, json};

use super::admin;
use crate::cli::failure::Exit;
use crate::cli::mock::{Mock, Reply};

#[test]
fn a_mirror_is_set_shown_and_ended() {
    let mock = Mock::start(|request| {
        let mirror = if request.method == "DELETE" { Value::Null } else { json!({ "target": "shadow", "ratio": 10 }) };
        Reply::json(200, &json!({ "name": "digits", "mirror": mirror }))
    });
    let copied = "service `digits`: 10 % of the requests are copied to `shadow`\n";
    let ran = admin(&mock, &["mirror", "digits", "--target", "shadow", "--ratio", "10"]);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Ok, copied), "{}", ran.err);
    let sent = mock.seen().pop().unwrap();
    assert_eq!(sent.line(), "PUT /api/v1/services/digits/mirror");
    assert_eq!(sent.json(), json!({ "target": "shadow", "ratio": 10 }));
    assert_eq!(admin(&mock, &["mirror", "digits"]).out, copied);
    assert_eq!(admin(&mock, &["mirror", "digits", "--off"]).out, "service `digits`: no requests are copied\n");
    assert_eq!(mock.lines()[1..], ["GET /api/v1/services/digits/mirror", "DELETE /api/v1/services/digits/mirror"]);
    for wrong in [
        &["mirror", "digits", "--ratio", "5"][..],
        &["mirror", "digits", "--off", "--target", "shadow"],
        &["mirror", "digits", "--target", "Not A Name"],
    ] {
        assert_eq!(admin(&mock, wrong).exit, Exit::Usage, "{wrong:?}");
    }
}
