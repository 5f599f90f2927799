//! Processors composed of several components, each with its own memory.

use super::component_of;

/// Makes a processor of two components. It answers the length of its path, which the other component counts. The path
/// is passed from one memory to the other, so the engine must make an adapter between them. `further` is appended to
/// the component.
pub fn composed(further: &str) -> Vec<u8> {
    component_of(&format!(
        r#"(component {TYPES} {COUNTER}
             (component $processor {TYPES} {PROCESSOR})
             (instance $processor (instantiate $processor
                (with "bulkhead:processor/types@0.1.0" (instance $types)) (with "length" (func $counter "length"))))
             (export "initialize" (func $processor "initialize"))
             (export "process" (func $processor "process"))
             {further})"#
    ))
}

/// Makes components that each instantiate the component before twice: two instances of the first, then four, and so on.
pub fn doubled(levels: usize, first: &str) -> String {
    let level = |n: usize| {
        let before = n - 1;
        format!("(component $c{n} (instance (instantiate $c{before})) (instance (instantiate $c{before})))\n")
    };
    let further: String = (1..=levels).map(level).collect();
    format!("(component $c0 {first})\n{further}(instance (instantiate $c{levels}))")
}

const TYPES: &str = r#"
    (import "bulkhead:processor/types@0.1.0" (instance $types
        (type $request (record (field "method" string) (field "path" string) (field "query" (option string))
            (field "content-type" (option string)) (field "body" (list u8))))
        (export "request" (type (eq $request)))
        (type $response (record (field "status" u16) (field "content-type" (option string))
            (field "headers" (list (tuple string string))) (field "body" (list u8))))
        (export "response" (type (eq $response)))
        (type $failure (record (field "status" u16) (field "message" string)))
        (export "failure" (type (eq $failure)))
        (type $model (record (field "dir" (option string)) (field "entry" (option string)) (field "config" string)))
        (export "model" (type (eq $model)))))
    (alias export $types "request" (type $request))
    (alias export $types "response" (type $response))
    (alias export $types "failure" (type $failure))
    (alias export $types "model" (type $model))
"#;

const COUNTER: &str = r#"
    (component $counter
        (core module $m
            (memory (export "memory") 1)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
            (func (export "length") (param i32 i32) (result i32) (local.get 1)))
        (core instance $i (instantiate $m))
        (func (export "length") (param "text" string) (result u32)
            (canon lift (core func $i "length") (memory (core memory $i "memory")) (realloc (func $i "realloc")))))
    (instance $counter (instantiate $counter))
"#;

const PROCESSOR: &str = r#"
    (import "length" (func $length (param "text" string) (result u32)))
    (core module $libc
        (memory (export "memory") 2)
        (global $next (mut i32) (i32.const 65536))
        (func (export "realloc") (param i32 i32 i32) (param $size i32) (result i32)
            (local $at i32)
            (local.set $at (global.get $next))
            (global.set $next (i32.and (i32.add (i32.add (local.get $at) (local.get $size)) (i32.const 7)) (i32.const -8)))
            (local.get $at))
        (func (export "free") (param i32) (global.set $next (i32.const 65536))))
    (core instance $libc (instantiate $libc))
    (alias core export $libc "memory" (core memory $memory))
    (alias core export $libc "realloc" (core func $realloc))
    (core func $lowered (canon lower (func $length) (memory $memory) (realloc $realloc)))
    (core module $main
        (import "libc" "memory" (memory 1))
        (import "counter" "length" (func $length (param i32 i32) (result i32)))
        (func (export "initialize") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 1024))
        (func (export "process") (param i32 i32) (param $path i32) (param $path_length i32)
                (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
            (memory.fill (i32.const 1024) (i32.const 0) (i32.const 36))
            (i32.store (i32.const 2048) (call $length (local.get $path) (local.get $path_length)))
            (i32.store (i32.const 1052) (i32.const 2048))
            (i32.store (i32.const 1056) (i32.const 4))
            (i32.const 1024)))
    (core instance $main (instantiate $main
        (with "libc" (instance $libc))
        (with "counter" (instance (export "length" (func $lowered))))))
    (func (export "initialize") (param "model" $model) (result (result (error string)))
        (canon lift (core func $main "initialize") (memory $memory) (realloc $realloc)))
    (func (export "process") (param "request" $request) (result (result $response (error $failure)))
        (canon lift (core func $main "process") (memory $memory) (realloc $realloc)
            (post-return (func $libc "free"))))
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composed_processors_can_be_written() {
        assert!(composed("").len() < 4096);
        assert!(composed(&doubled(24, "")).len() < 6144);
    }
}
