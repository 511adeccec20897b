//! Compiles the wire's .proto files once more: a stand-in of a Telepresence peer shares no code with what it tests.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = "../../tp-proto/proto";
    println!("cargo:rerun-if-changed={dir}");
    let files = protox::compile(["manager.proto", "agent.proto"], [dir])?;
    tonic_prost_build::configure()
        .build_transport(false)
        // an agent has no use for these: as nothing they are not dead code
        .extern_path(".telepresence.manager.WorkloadInfo", "()")
        .extern_path(".telepresence.manager.KnownWorkloadKinds", "()")
        .compile_fds(files)?;
    Ok(())
}
