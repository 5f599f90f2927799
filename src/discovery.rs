//! The list of a service's addresses, in the form that EAS's SDKs ask for in direct mode. The SDKs spread their
//! requests over the list by weight, and ask again every few seconds.

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

/// One address that answers a service, and its share of the requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upstream {
    pub address: SocketAddr,
    pub weight: u32,
}

/// The weight of one instance, as in EAS. Only the ratio of weights counts.
pub const WEIGHT: u32 = 100;

/// Returns the list that SDKs read. It is empty if nothing answers `service`.
pub fn listing(service: &str, upstreams: &[Upstream]) -> Value {
    let item = |upstream: &Upstream| {
        json!({
            "app": service,
            "ip": host(upstream.address.ip()),
            "port": upstream.address.port(),
            "weight": upstream.weight,
        })
    };
    json!({"correlative": [service], "endpoints": {"items": upstreams.iter().map(item).collect::<Vec<_>>()}})
}

/// Formats an address for a URL: SDKs write `ip:port`, where an IPv6 address needs brackets.
fn host(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_what_sdks_read() {
        let upstream = |address: &str, weight| Upstream { address: address.parse().unwrap(), weight };
        let upstreams = [upstream("172.16.0.7:50000", 100), upstream("[2001:db8::1]:80", 200)];
        assert_eq!(
            listing("svc", &upstreams).to_string(),
            r#"{"correlative":["svc"],"endpoints":{"items":[{"app":"svc","ip":"172.16.0.7","port":50000,"weight":100},{"app":"svc","ip":"[2001:db8::1]","port":80,"weight":200}]}}"#
        );
        assert_eq!(listing("svc", &[])["endpoints"]["items"], json!([]));
        assert_eq!(host("::ffff:10.0.0.1".parse().unwrap()), "10.0.0.1");
    }
}
