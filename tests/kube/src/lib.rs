//! Drives the built programs on a real Kubernetes that runs in network namespaces of its own (`lab/`).
pub mod agent_cases;
pub mod chart_cases;
pub mod cluster_cases;
pub mod doctor_cases;
pub mod foreign;
pub mod lab;
pub mod site;
pub mod suite;
