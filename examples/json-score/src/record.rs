use std::ops::RangeInclusive;

use serde::Serialize;
use serde_json::{Map, Value};

const AGE: RangeInclusive<f64> = 0.0..=130.0;
const INCOME: RangeInclusive<f64> = 0.0..=1e12;
const DAYS_LATE: RangeInclusive<f64> = 0.0..=365.0;

const FIELDS: [&str; 3] = ["age", "income", "history"];

/// A checked record.
#[derive(Debug, PartialEq)]
pub(crate) struct Record {
    age: f64,
    income: f64,
    /// The number of days by which each past payment was late.
    history: Vec<f64>,
}

/// A mistake in one field.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Mistake {
    pub(crate) field: String,
    pub(crate) message: String,
}

impl Record {
    /// Reads a record by hand, because a derived parser would stop at the first mistake.
    pub(crate) fn parse(value: &Value) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Mistakes::default();
        let Value::Object(object) = value else {
            mistakes.add("", format!("must be an object, not {}", shown(value)));
            return Err(mistakes.0);
        };
        let record =
            Self { age: mistakes.age(object), income: mistakes.income(object), history: mistakes.history(object) };
        for name in object.keys().filter(|name| !FIELDS.contains(&name.as_str())) {
            mistakes.add(name, "is not known");
        }
        match mistakes.0.is_empty() {
            true => Ok(record),
            false => Err(mistakes.0),
        }
    }

    /// Returns a score between 0 and 1: a logistic curve over age, income and punctuality. The weights are made up.
    pub(crate) fn score(&self) -> f64 {
        let days_late = match self.history.as_slice() {
            [] => 0.0,
            days => days.iter().sum::<f64>() / days.len() as f64,
        };
        let weighed = -1.0 + 0.02 * (self.age - 18.0) + 0.00002 * self.income - 0.15 * days_late;
        1.0 / (1.0 + (-weighed).exp())
    }
}

/// Collects the mistakes. An invalid field reads as zero, which is never used.
#[derive(Default)]
struct Mistakes(Vec<Mistake>);

impl Mistakes {
    fn age(&mut self, object: &Map<String, Value>) -> f64 {
        let Some(value) = self.present(object, "age") else {
            return 0.0;
        };
        match value.as_u64().map(|age| age as f64) {
            Some(age) if AGE.contains(&age) => age,
            _ => self.wrong("age", "a whole number", &AGE, value),
        }
    }

    fn income(&mut self, object: &Map<String, Value>) -> f64 {
        match self.present(object, "income") {
            Some(value) => self.number("income", &INCOME, value),
            None => 0.0,
        }
    }

    fn history(&mut self, object: &Map<String, Value>) -> Vec<f64> {
        match self.present(object, "history") {
            Some(Value::Array(entries)) => entries
                .iter()
                .enumerate()
                .map(|(index, value)| self.number(&format!("history[{index}]"), &DAYS_LATE, value))
                .collect(),
            Some(value) => {
                self.add("history", format!("must be a list, not {}", shown(value)));
                Vec::new()
            }
            None => Vec::new(),
        }
    }

    fn present<'a>(&mut self, object: &'a Map<String, Value>, field: &str) -> Option<&'a Value> {
        let value = object.get(field);
        if value.is_none() {
            self.add(field, "is missing");
        }
        value
    }

    fn number(&mut self, field: &str, range: &RangeInclusive<f64>, value: &Value) -> f64 {
        match value.as_f64() {
            Some(number) if range.contains(&number) => number,
            _ => self.wrong(field, "a number", range, value),
        }
    }

    fn wrong(&mut self, field: &str, kind: &str, range: &RangeInclusive<f64>, value: &Value) -> f64 {
        let (low, high) = (range.start(), range.end());
        self.add(field, format!("must be {kind} from {low} to {high}, not {}", shown(value)));
        0.0
    }

    fn add(&mut self, field: &str, message: impl Into<String>) {
        self.0.push(Mistake { field: field.to_owned(), message: message.into() });
    }
}

/// Formats a value for a message; lists, objects and long strings are abbreviated.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        Value::String(text) if text.len() > 40 => "a long text".to_owned(),
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: &Value) -> Vec<String> {
        let mistakes = Record::parse(value).unwrap_err();
        mistakes.into_iter().map(|mistake| mistake.field).collect()
    }

    #[test]
    fn a_whole_record_is_read() {
        let record = Record::parse(&json!({ "age": 30, "income": 1.5, "history": [0, 3] })).unwrap();
        assert_eq!(record, Record { age: 30.0, income: 1.5, history: vec![0.0, 3.0] });
    }

    #[test]
    fn an_age_is_whole_and_human() {
        for age in [json!(30.5), json!(131), json!(-1), json!("30"), json!(null)] {
            let value = json!({ "age": age, "income": 0, "history": [] });
            assert_eq!(fields(&value), ["age"]);
        }
    }

    #[test]
    fn only_an_object_is_a_record() {
        assert_eq!(fields(&json!([1, 2])), [""]);
        assert_eq!(fields(&json!({ "age": 1, "income": 1, "history": {} })), ["history"]);
    }

    #[test]
    fn late_payments_cost_points() {
        let record =
            |history: Value| Record::parse(&json!({ "age": 40, "income": 30000, "history": history })).unwrap();
        assert!(record(json!([0, 0])).score() > record(json!([0, 10])).score());
        assert_eq!(record(json!([])).score(), record(json!([0])).score());
    }
}
