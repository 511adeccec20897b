//! The manager's layer among the others.

use tp_core::config::Flags;

use super::*;

#[test]
fn a_managers_mistakes_are_notes() {
    let flags = Flags { also_proxy: vec!["10.1.0.0/16".parse().unwrap()], ..Flags::default() };
    let sources = Sources { layers: vec![Layer::of_flags(&flags)] };
    let text = "routing: {alsoProxySubnets: [10.9.0.0/16], nextYear: 1}\ntimeouts: {endpointDial: 4s}\n";
    let settings = sources.with_manager(text);
    let view = ClusterView { never_proxy: vec!["10.8.0.0/16".parse().unwrap()], ..ClusterView::default() };
    let config = settings.config(&view);
    assert_eq!(config.routing.also_proxy.len(), 2);
    assert_eq!(config.routing.never_proxy.len(), 1);
    assert_eq!(config.timeouts.endpoint_dial.as_secs(), 4);
    assert_eq!(config.notes.len(), 1);
    // what the manager no longer reports no longer holds
    assert_eq!(settings.config(&ClusterView::default()).routing.never_proxy, []);
}
