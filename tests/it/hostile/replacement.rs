//! D6: a processor whose `initialize` fails at random once its service runs. Snapshots are off, because with one it
//! would run only once.

use serde_json::json;

use super::{deploy_component, polite_answer};
use crate::figures::{must, rounds};
use crate::host::TestHost;

#[test]
fn a_guest_that_cannot_be_replaced_at_once_is_replaced_in_the_end() {
    let host = TestHost::start();
    // `initialize` traps at random, in three of eight cases.
    let component = bulkhead_hostile::processor(
        "(func $init (result i32)
            (call $random (i64.const 1) (i32.const 512))
            (if (i32.lt_u (i32.and (i32.load8_u (i32.load (i32.const 512))) (i32.const 7)) (i32.const 3))
                (then (unreachable)))
            (i32.const 1024))
         (func $act (unreachable))",
    );
    let mut refused = 0;
    let service = loop {
        match deploy_component(&host, "moody", &component, json!({"snapshot": false}), 20_000) {
            Ok(service) => break service,
            Err(told) => assert!(told.contains("initialize failed") && refused < 50, "{told}"),
        }
        refused += 1;
    };
    let rounds = rounds(6, 100);
    for _ in 0..rounds {
        host.client().post(&service, b"").assert_problem(400, "processor_exception");
        // While `initialize` fails, callers get 503 at once. Only the service can recover from that, and it does.
        let mut answer = polite_answer(&host, &service);
        host.wait_for("a new guest", || {
            let is_there = answer.status != 503;
            if !is_there {
                answer = polite_answer(&host, &service);
            }
            is_there
        });
        assert_eq!(answer.body, 1_u32.to_le_bytes());
    }
    let retried = host.log().matches("a guest cannot be replaced").count();
    must("hostile.initialize.replaced", "after every trap, whatever initialize does", rounds, true);
    println!("initialize failed {retried} times on the way");
}
