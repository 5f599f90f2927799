//! Loads servers to their maximum, in turns, so that changes on the machine affect all of them alike.

use std::cmp::Ordering;

use anyhow::Result;
use serde_json::{Value, json};

use super::Plan;
use super::closed::Outcome;
use super::server::Server;
use super::stats::Spread;
use crate::stage;

/// The results of one server, one per round. All servers have the same rounds.
pub(super) struct Runs {
    pub(super) name: String,
    pub(super) outcome: Result<Vec<Outcome>>,
}

/// Runs every server once in every round. A server that fails is reported and left out of the further rounds.
pub(super) fn hold(servers: &[Server], plan: &Plan) -> Vec<Runs> {
    let mut runs: Vec<Runs> = servers
        .iter()
        .map(|server| {
            stage::announce(&format!("  warming up: {}", server.name));
            Runs { name: server.name.clone(), outcome: server.closed(plan.load / 4).map(|_| Vec::new()) }
        })
        .collect();
    for round in 0..plan.rounds {
        stage::announce(&format!("  round {} of {}", round + 1, plan.rounds));
        for index in order(servers.len(), round) {
            let Ok(outcomes) = &mut runs[index].outcome else { continue };
            match servers[index].closed(plan.load) {
                Ok(outcome) => outcomes.push(outcome),
                Err(error) => {
                    stage::announce(&format!("  {} failed and is left out: {error:#}", servers[index].name));
                    runs[index].outcome = Err(error);
                }
            }
        }
    }
    runs
}

/// Returns the order of a round. It changes each round, because the first server may find a quieter machine.
fn order(servers: usize, round: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..servers).collect();
    order.rotate_left(round / 2 % servers.max(1));
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

impl Runs {
    /// Summarises one value over all rounds; `None` if the server failed.
    pub(super) fn spread(&self, value: impl Fn(&Outcome) -> f64) -> Option<Spread> {
        let outcomes = self.outcome.as_ref().ok().filter(|outcomes| !outcomes.is_empty())?;
        Some(Spread::of(outcomes.iter().map(value)))
    }

    /// Divides a value by another server's in the same round, and summarises the ratios.
    pub(super) fn against(&self, other: &Self, value: impl Fn(&Outcome) -> f64) -> Result<Spread> {
        self.with(other, |own, other| value(own) / value(other))
    }

    /// Subtracts another server's value in the same round, and summarises the differences.
    pub(super) fn beyond(&self, other: &Self, value: impl Fn(&Outcome) -> f64) -> Result<Spread> {
        self.with(other, |own, other| value(own) - value(other))
    }

    fn with(&self, other: &Self, value: impl Fn(&Outcome, &Outcome) -> f64) -> Result<Spread> {
        let own = self.outcome.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
        let others = other.outcome.as_ref().map_err(|error| anyhow::anyhow!("{error:#}"))?;
        anyhow::ensure!(
            own.len() == others.len() && !own.is_empty(),
            "{} and {} had different rounds",
            self.name,
            other.name
        );
        Ok(Spread::of(own.iter().zip(others).map(|(own, other)| value(own, other))))
    }

    pub(super) fn values(&self) -> Value {
        match (self.spread(|run| run.per_second), self.spread(|run| run.cpu_micros)) {
            (Some(rate), Some(cpu)) => json!({ "name": self.name, "per_s": rate.values(), "cpu_us": cpu.values() }),
            _ => json!({ "name": self.name, "failed": self.outcome.as_ref().err().map(|error| format!("{error:#}")) }),
        }
    }
}

/// Compares the throughput of one server with another's.
pub(super) fn throughput(own: &Runs, other: &Runs) -> Result<(Spread, String)> {
    beside(own, other, |run| run.per_second, |rate| format!("{rate:.0}"), "requests/s")
}

/// Compares the processor time per request of one server with another's.
pub(super) fn cost(own: &Runs, other: &Runs) -> Result<(Spread, String)> {
    beside(own, other, |run| run.cpu_micros, |cost| format!("{cost:.2}"), "µs of CPU a request")
}

/// Returns the ratio, and both values as text.
fn beside(
    own: &Runs,
    other: &Runs,
    value: fn(&Outcome) -> f64,
    text: fn(f64) -> String,
    unit: &str,
) -> Result<(Spread, String)> {
    let ratio = own.against(other, value)?;
    let [ours, theirs] = [own, other].map(|runs| runs.spread(value).map_or(f64::NAN, |spread| spread.median));
    Ok((ratio, format!("{} to {} {unit}", text(ours), text(theirs))))
}

/// Sorts by throughput, the fastest first; servers that failed come last.
pub(super) fn ranked(runs: &[Runs]) -> Vec<&Runs> {
    let rate = |runs: &Runs| runs.spread(|run| run.per_second).map(|rate| rate.median);
    let mut ranked: Vec<&Runs> = runs.iter().collect();
    ranked.sort_by(|a, b| rate(b).partial_cmp(&rate(a)).unwrap_or(Ordering::Equal));
    ranked
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(name: &str, rates: &[f64]) -> Runs {
        let outcome = |rate: &f64| Outcome { per_second: *rate, cpu_micros: 1e6 / rate, kernel_share: 0.5 };
        Runs { name: name.to_owned(), outcome: Ok(rates.iter().map(outcome).collect()) }
    }

    #[test]
    fn everyone_is_first_and_last_in_some_round() {
        let rounds: Vec<Vec<usize>> = (0..6).map(|round| order(3, round)).collect();
        for server in 0..3 {
            assert!(rounds.iter().any(|order| order[0] == server), "{rounds:?}");
            assert!(rounds.iter().any(|order| order[2] == server), "{rounds:?}");
        }
        // Of any two servers, each comes first in every second round.
        for pair in rounds.chunks(2) {
            assert!(pair[0].iter().eq(pair[1].iter().rev()), "{pair:?}");
        }
        assert!(order(0, 3).is_empty());
    }

    #[test]
    fn a_ratio_is_that_of_each_round() {
        // The machine had half the speed in the third round; the ratio is not affected.
        let ratio = runs("a", &[50.0, 100.0, 25.0]).against(&runs("b", &[100.0, 200.0, 50.0]), |run| run.per_second);
        assert_eq!(ratio.unwrap(), Spread { median: 0.5, least: 0.5, most: 0.5 });
        assert!(runs("a", &[1.0]).against(&runs("b", &[]), |run| run.per_second).is_err());
    }

    #[test]
    fn the_fastest_comes_first() {
        let all = [runs("slow", &[1.0]), runs("none", &[]), runs("fast", &[3.0])];
        let names: Vec<&str> = ranked(&all).iter().map(|runs| runs.name.as_str()).collect();
        assert_eq!(names, ["fast", "slow", "none"]);
    }
}
