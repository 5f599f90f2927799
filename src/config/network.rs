//! Addresses that are not of the public internet, by the registries of special-purpose addresses (RFC 6890).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    /// The number of leading bits that the addresses of the network have in common.
    prefix: u8,
}

impl Network {
    pub(super) const fn new(address: IpAddr, prefix: u8) -> Self {
        Self { address, prefix }
    }

    /// Parses an address, or an address and the length of its prefix: `10.0.0.0/8`. All bits behind the prefix are 0.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let network = Self { address, prefix: prefix.unwrap_or(longest) };
        (network.prefix <= longest && network.rest() == 0).then_some(network)
    }

    /// Returns the bits of the address behind the prefix.
    fn rest(&self) -> u128 {
        let (bits, length) = match self.address {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        bits & !u128::MAX.checked_shl(length - u32::from(self.prefix)).unwrap_or(0)
    }

    /// True if it has more than one address.
    pub(super) fn is_range(&self) -> bool {
        self.prefix < if self.address.is_ipv4() { 32 } else { 128 }
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let (own, other, bits) = match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (u128::from(own.to_bits()), u128::from(other.to_bits()), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        (own ^ other).checked_shr(bits - u32::from(self.prefix)).unwrap_or(0) == 0
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Network {
    Network::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix)
}

const fn v6(segments: [u16; 8], prefix: u8) -> Network {
    let [a, b, c, d, e, f, g, h] = segments;
    Network::new(IpAddr::V6(Ipv6Addr::new(a, b, c, d, e, f, g, h)), prefix)
}

/// Networks that a name of the public internet must not lead to.
const SPECIAL: [Network; 25] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 3),
    // Unspecified, loopback, and IPv4 addresses in an old form.
    v6([0, 0, 0, 0, 0, 0, 0, 0], 96),
    // Translation to IPv4 by a host (RFC 2765), and inside a network.
    v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64),
    // Teredo, benchmarking, ORCHID and other protocols.
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7),
    v6([0xfe00, 0, 0, 0, 0, 0, 0, 0], 7),
];

/// True for an address that is private, local, reserved or for several receivers. An IPv6 address that stands for an
/// IPv4 address is judged as that one.
pub(super) fn is_special(address: IpAddr) -> bool {
    let address = plain(address);
    SPECIAL.iter().any(|network| network.contains(address))
}

/// Returns the IPv4 address that an IPv6 address stands for, or the address itself.
pub(super) fn plain(address: IpAddr) -> IpAddr {
    /// Translation of all IPv4 addresses (RFC 6052).
    const NAT64: Network = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);
    let IpAddr::V6(v6) = address else { return address };
    if let Some(mapped) = v6.to_ipv4_mapped() {
        return mapped.into();
    }
    if NAT64.contains(address) {
        return Ipv4Addr::from_bits(v6.to_bits() as u32).into();
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_of_a_special_network_is_public() {
        for special in [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "169.254.169.254",
            "172.31.0.1",
            "192.0.0.8",
            "192.168.1.1",
            "198.18.0.1",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "100::1",
        ] {
            assert!(is_special(special.parse().unwrap()), "{special}");
        }
        for public in
            ["8.8.8.8", "172.32.0.1", "100.63.0.1", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
        {
            assert!(!is_special(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn a_network_is_an_address_and_a_prefix() {
        let network = |text: &str| Network::parse(text);
        let is_in = |address: &str, text: &str| network(text).unwrap().contains(address.parse().unwrap());
        assert!(is_in("10.200.0.1", "10.0.0.0/8") && !is_in("11.0.0.1", "10.0.0.0/8"));
        assert!(is_in("1.2.3.4", "1.2.3.4") && !is_in("1.2.3.5", "1.2.3.4") && is_in("9.9.9.9", "0.0.0.0/0"));
        assert!(is_in("fd00::5", "fd00::/8") && !is_in("::1", "0.0.0.0/0") && is_in("::1", "::/0"));
        for wrong in [
            "10.0.0.5/8",
            "fd00::1/64",
            "1.0.0.0/0",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "a",
            "10.0.0.0/",
            "10.0.0.0/-1",
        ] {
            assert_eq!(network(wrong), None, "{wrong}");
        }
    }
}
