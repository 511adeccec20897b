//! Compiles the .proto files with protox: no protoc to install.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["manager.proto", "agent.proto", "daemon.proto", "bench.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".")
        // no generated `connect()`: channels are made by client.rs only, and an RPC of ours has that name
        .build_transport(false)
        .compile_fds(files)?;
    Ok(())
}
