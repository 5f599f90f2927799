//! Changes of a service's tokens.
//!
//! A rotation makes a new token current and still accepts the previous one, so that callers can move over one by one.
//! It changes only the record: the running version, its queue and its guests are not affected.

use std::sync::Arc;

use serde_json::json;

use super::plan::Plan;
use crate::auth;
use crate::config::{Token, TokenPolicy};
use crate::registry::{ChangeError, ChangeRequest, Registry, Service, now};
use crate::storage::{Record, VersionRecord};

/// A change of a service's tokens.
#[derive(Clone, Debug)]
pub enum TokenChange {
    /// Makes this token, or a generated one, current. The previous one is still accepted.
    Rotate(Option<Token>),
    /// Ends the acceptance of the previous token.
    Retire,
}

impl Registry {
    /// Changes the tokens of a service in any phase. A change that has already been made is no error.
    ///
    /// # Errors
    /// If there is no such service, if it is public, or if a rotation would add a third token.
    pub async fn change_token(
        &self,
        name: &str,
        request: &ChangeRequest,
        change: TokenChange,
    ) -> Result<Arc<Service>, ChangeError> {
        let (lock, service) = self.lock(name, request).await?;
        match changed(&service.state().record, change)? {
            Some(record) => self.apply(&service, &lock, Plan::of_record(record), &|_| {}).await?,
            None => self.note_unchanged(&service, &lock).await,
        }
        Ok(service)
    }
}

/// Returns the record after the change; `None` if nothing changes.
fn changed(old: &Record, change: TokenChange) -> Result<Option<Record>, ChangeError> {
    let current = old.token.clone().ok_or(ChangeError::Public)?;
    let (token, previous_token) = match (change, &old.previous_token) {
        (TokenChange::Rotate(Some(new)), _) if is_same(&new, &current) => return Ok(None),
        (TokenChange::Rotate(Some(new)), Some(previous)) if is_same(&new, previous) => (new, Some(current)),
        (TokenChange::Rotate(_), Some(_)) => return Err(ChangeError::TwoTokens),
        (TokenChange::Rotate(new), None) => (new.map_or_else(generated, Ok)?, Some(current)),
        (TokenChange::Retire, None) => return Ok(None),
        (TokenChange::Retire, Some(_)) => (current, None),
    };
    let file = old.file.parsed()?;
    let file = match file.spec().token() {
        // The next modify starts from the file, so the file gets the token too.
        TokenPolicy::Given(_) => file.merge(&json!({"token": token.reveal()}))?.into(),
        TokenPolicy::Generate | TokenPolicy::Public => old.file.clone(),
    };
    Ok(Some(Record { file, token: Some(token), previous_token, updated_at: now(), ..Record::clone(old) }))
}

/// Returns the first token of a new service.
pub(in crate::registry) fn first(policy: &TokenPolicy) -> Result<Option<Token>, ChangeError> {
    match policy {
        TokenPolicy::Given(token) => Ok(Some(token.clone())),
        TokenPolicy::Generate => generated().map(Some),
        TokenPolicy::Public => Ok(None),
    }
}

/// Returns the current and the previous token after a modify to a file with this policy.
///
/// If the policy is to generate a token, both tokens stay. If the file has a third token, it replaces both at once. If
/// the file has one of the two, that one becomes the current one and the other stays accepted: so deploying the
/// service's first file again during a rotation refuses no caller.
pub(in crate::registry) fn after_modify(
    old: &Record,
    policy: &TokenPolicy,
) -> Result<(Option<Token>, Option<Token>), ChangeError> {
    let (current, previous) = (old.token.clone(), old.previous_token.clone());
    let is = |new: &Token, kept: &Option<Token>| kept.as_ref().is_some_and(|kept| is_same(new, kept));
    Ok(match policy {
        TokenPolicy::Public => (None, None),
        TokenPolicy::Generate if current.is_none() => (Some(generated()?), None),
        TokenPolicy::Generate => (current, previous),
        TokenPolicy::Given(new) if is(new, &current) => (current, previous),
        TokenPolicy::Given(new) if is(new, &previous) => (previous, current),
        TokenPolicy::Given(new) => (Some(new.clone()), None),
    })
}

/// Returns the token to keep for the case that the service becomes public: `token` is the one after the change.
pub(in crate::registry) fn last(old: &Record, token: Option<&Token>) -> Option<Token> {
    let before = || old.token.as_ref().or(old.last_token.as_ref());
    if token.is_some() { None } else { before().cloned() }
}

/// Returns the record after the return to `version`. The tokens stay: a token retired since then must not become valid
/// again. The version decides only whether callers need a token. If the service is public now, they need its last one.
pub(in crate::registry) fn after_return(old: &Record, version: &VersionRecord) -> Result<Record, ChangeError> {
    let back = old.with_version(version);
    let file = back.file.parsed()?;
    let policy = file.spec().token();
    if matches!(policy, TokenPolicy::Public) {
        return Ok(Record { token: None, previous_token: None, last_token: last(old, None), ..back });
    }
    let Some(token) = old.token.clone().or_else(|| old.last_token.clone()) else {
        return Ok(Record { token: first(policy)?, ..back });
    };
    let file = match policy {
        TokenPolicy::Given(_) => file.merge(&json!({"token": token.reveal()}))?.into(),
        TokenPolicy::Generate | TokenPolicy::Public => back.file.clone(),
    };
    Ok(Record { file, token: Some(token), last_token: None, ..back })
}

/// True if both records need the same token of callers, or none.
pub(in crate::registry) fn are_the_same(a: &Record, b: &Record) -> bool {
    match (&a.token, &b.token) {
        (Some(a), Some(b)) => is_same(a, b),
        (None, None) => true,
        _ => false,
    }
}

fn is_same(a: &Token, b: &Token) -> bool {
    auth::is_token(a, b.reveal().as_bytes())
}

fn generated() -> Result<Token, ChangeError> {
    Token::generate().map_err(|error| ChangeError::Internal(format!("no randomness for a token: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TrafficState;
    use crate::storage::{Artifact, Digest};

    fn token(text: &str) -> Token {
        Token::parse(text).unwrap()
    }

    fn record(tokens: [Option<&str>; 2], given: bool) -> Record {
        let [current, previous] = tokens.map(|text| text.map(token));
        let mut file = json!({"name": "a", "processor_path": "a.wasm"});
        if let (true, Some(current)) = (given, &current) {
            file["token"] = current.reveal().into();
        }
        Record {
            name: "a".into(),
            version: 7,
            latest: 7,
            canary: None,
            weight: 100,
            traffic_state: TrafficState::Grouping,
            revision: 0,
            mirror: None,
            file: file.into(),
            image: None,
            token: current,
            previous_token: previous,
            last_token: None,
            processor: Some(Artifact { sha256: Digest::parse(&"ab".repeat(32)).unwrap(), bytes: 7 }),
            model: Vec::new(),
            warm_up: None,
            stopped: false,
            store_id: 0,
            created_at: now(),
            updated_at: now(),
        }
    }

    fn texts(tokens: (Option<Token>, Option<Token>)) -> (Option<String>, Option<String>) {
        let text = |token: Option<Token>| token.map(|token| token.reveal().to_owned());
        (text(tokens.0), text(tokens.1))
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_rotation_keeps_the_token_before_until_it_is_retired() {
        let rotate = |text: &str| TokenChange::Rotate(Some(token(text)));
        let first = changed(&record([Some("a"), None], true), rotate("b")).unwrap().unwrap();
        assert_eq!(
            (first.version, first.file.value()["token"].clone()),
            (7, json!("b")),
            "no new version, and the file follows"
        );
        assert_eq!(texts((first.token.clone(), first.previous_token.clone())), (some("b"), some("a")));

        assert!(changed(&first, rotate("b")).unwrap().is_none(), "it is so already");
        assert!(matches!(changed(&first, rotate("c")), Err(ChangeError::TwoTokens)));
        assert!(matches!(changed(&first, TokenChange::Rotate(None)), Err(ChangeError::TwoTokens)));
        let back = changed(&first, rotate("a")).unwrap().unwrap();
        assert_eq!(texts((back.token, back.previous_token)), (some("a"), some("b")), "nobody is shut out");

        let retired = changed(&first, TokenChange::Retire).unwrap().unwrap();
        assert_eq!(texts((retired.token.clone(), retired.previous_token.clone())), (some("b"), None));
        assert!(changed(&retired, TokenChange::Retire).unwrap().is_none());
        assert!(matches!(changed(&record([None, None], false), TokenChange::Retire), Err(ChangeError::Public)));
    }

    #[test]
    fn a_modify_loses_neither_token_unless_it_brings_a_third() {
        let old = record([Some("b"), Some("a")], false);
        let after = |policy| texts(after_modify(&old, &policy).unwrap());
        assert_eq!(after(TokenPolicy::Generate), (some("b"), some("a")));
        assert_eq!(after(TokenPolicy::Given(token("b"))), (some("b"), some("a")));
        assert_eq!(after(TokenPolicy::Given(token("a"))), (some("a"), some("b")));
        assert_eq!(after(TokenPolicy::Given(token("c"))), (some("c"), None));
        assert_eq!(after(TokenPolicy::Public), (None, None));
        let (made, none) = texts(after_modify(&record([None, None], false), &TokenPolicy::Generate).unwrap());
        assert!(made.is_some() && none.is_none());
    }

    #[test]
    fn going_back_brings_no_token_back() {
        let now = record([Some("new"), Some("newer")], true);
        let then = |keys: serde_json::Value| {
            let mut file = json!({"name": "a", "processor_path": "old.wasm"});
            file.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
            VersionRecord { number: 3, file: file.into(), ..now.to_version(String::new()) }
        };
        let given = after_return(&now, &then(json!({"token": "retired"}))).unwrap();
        assert_eq!((given.version, given.file.value()["processor_path"].clone()), (3, json!("old.wasm")));
        assert_eq!(given.file.value()["token"], "new", "the next modify goes by it");
        assert_eq!(texts((given.token, given.previous_token)), (some("new"), some("newer")));
        let generated = after_return(&now, &then(json!({}))).unwrap();
        assert_eq!(texts((generated.token, generated.previous_token)), (some("new"), some("newer")));
        let public = after_return(&now, &then(json!({"generate_token": false}))).unwrap();
        assert_eq!(texts((public.token.clone(), public.previous_token.clone())), (None, None));
        // Callers need the token that the service had last, not the token from the time of the version.
        for file in [json!({"token": "retired"}), json!({})] {
            let private = after_return(&public, &then(file)).unwrap();
            assert_eq!(texts((private.token, private.last_token)), (some("new"), None));
        }
        let private = after_return(&record([None, None], false), &then(json!({"token": "then"}))).unwrap();
        assert_eq!(texts((private.token, private.previous_token)), (some("then"), None), "it has never had another");
    }
}
