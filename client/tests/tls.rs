//! `https` endpoints: the servers that the client trusts, and its errors for others.
//!
//! The certificates in `tls/` are of a test authority whose key no longer exists. They are valid for a hundred years,
//! and only for the name `localhost`.
#![cfg(feature = "tls")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bulkhead_client::{Client, ClientBuilder, Error, Fault, RetryPolicy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

const AUTHORITY: &[u8] = include_bytes!("tls/authority.pem");

/// Starts a server that answers every request on a secure connection; returns its address and its count of connections.
async fn server() -> (SocketAddr, Arc<AtomicUsize>) {
    let acceptor = acceptor();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, counted) = (acceptor.clone(), Arc::clone(&counted));
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                counted.fetch_add(1, Ordering::SeqCst);
                let mut read = Vec::new();
                while stream.read_buf(&mut read).await? > 0 {
                    if read.ends_with(b"\r\n\r\nhello") {
                        read.clear();
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await?;
                    }
                }
                Ok::<_, std::io::Error>(())
            });
        }
    });
    (address, connections)
}

fn acceptor() -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_slice(include_bytes!("tls/server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn builder(host: &str, address: SocketAddr) -> ClientBuilder {
    Client::builder(&format!("https://{host}:{}", address.port()), "s").retry(RetryPolicy::none())
}

async fn refused(builder: ClientBuilder) -> String {
    match builder.build().unwrap().predict("hello").await {
        Err(Error::Transport(transport)) if transport.fault == Fault::ConnectionFailed => transport.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_server_of_an_authority_that_is_trusted_is_called_and_its_connection_kept() {
    let (address, connections) = server().await;
    let client = builder("localhost", address).root_certificates(AUTHORITY).build().unwrap();
    for _ in 0..3 {
        assert_eq!(client.predict_string("hello").await.unwrap(), "hello");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

/// The same case as over plain connections: a write fails in the middle of the body, although the answer has arrived.
#[tokio::test]
async fn an_answer_counts_for_more_than_a_write_that_failed() {
    let socket = TcpSocket::new_v4().unwrap();
    // A small buffer, so that a client with a large body must wait until the server reads.
    socket.set_recv_buffer_size(64 << 10).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let stream = listener.accept().await?.0;
        // Bytes that are not sent yet would be lost with the reset.
        stream.set_nodelay(true)?;
        let mut stream = acceptor().accept(stream).await?;
        stream.read_u8().await?;
        stream.write_all(b"HTTP/1.1 401 X\r\nconnection: close\r\ncontent-length: 3\r\n\r\nwho").await?;
        stream.flush().await?;
        stream.get_ref().0.set_zero_linger()
    });
    let builder = builder("localhost", address).root_certificates(AUTHORITY).timeout(Duration::from_secs(60));
    let error = builder.build().unwrap().predict(vec![b'x'; 8 << 20]).await.unwrap_err();
    assert_eq!(error.code(), 401, "{error}");
}

#[tokio::test]
async fn whoever_cannot_be_believed_is_sent_nothing() {
    let (address, connections) = server().await;
    let unknown = refused(builder("localhost", address)).await;
    assert!(unknown.contains("UnknownIssuer"), "{unknown}");
    let another_name = refused(builder("127.0.0.1", address).root_certificates(AUTHORITY)).await;
    assert!(another_name.contains("not valid for name"), "{another_name}");
    assert_eq!(connections.load(Ordering::SeqCst), 0, "no handshake came to its end");
}

#[tokio::test]
async fn a_server_that_speaks_plainly_is_none() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await
    });
    let told = refused(builder("localhost", address).root_certificates(AUTHORITY)).await;
    assert!(told.contains("corrupt message"), "{told}");
}

#[tokio::test]
async fn what_is_no_certificate_is_told_when_the_client_is_made() {
    let told = |pem: &[u8]| match Client::builder("https://h", "s").root_certificates(pem).build() {
        Err(Error::Request(why)) => why,
        other => panic!("{:?}", other.map(|_| ())),
    };
    assert!(told(b"").contains("there is no certificate"), "{}", told(b""));
    let broken = b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    assert!(told(broken).contains("not valid PEM"), "{}", told(broken));
    let other = b"-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    assert!(told(other).contains("a root certificate is invalid"), "{}", told(other));
}
