//! What users and clusters ask for.

use super::*;

#[test]
fn the_api_server_on_the_same_link_is_a_node() {
    let own = |ip: &str| Own { transport: vec![ip.parse().unwrap()], ..Own::default() };
    let side = |ip: &str| plan(&cluster(), &strict(), &laptop(), &own(ip)).unwrap().node_side;
    assert_eq!(side("192.168.1.50"), [2]);
    assert_eq!(side("203.0.113.9"), Vec::<u32>::new(), "behind the default route is everybody");
    assert_eq!(side("127.0.0.1"), Vec::<u32>::new());
}

#[test]
fn nothing_of_our_own_is_swallowed() {
    let view = ClusterView { also_proxy: nets("10.0.0.0/29"), ..ClusterView::default() };
    let ip = |last| IpAddr::from([10, 0, 0, last]);
    let machine = Machine { resolvers: vec![ip(1)], ..laptop() };
    let own = Own { transport: vec![ip(2)], links: vec![], tun_networks: nets("10.0.0.4/30") };
    let routed = plan(&view, &Routing::default(), &machine, &own).unwrap();
    assert_eq!(in_main(&routed), "10.0.0.0/32 10.0.0.3/32");
    let hide = Routing { proxy_via: vec![ProxyVia::vnat("all").unwrap()], ..Routing::default() };
    let plan = plan(&view, &hide, &machine, &own).unwrap();
    assert_eq!(hidden(&plan), "10.0.0.0/32 10.0.0.3/32");
}

#[test]
fn the_most_specific_setting_decides() {
    let view =
        ClusterView { pod_subnets: nets("10.0.0.0/16"), never_proxy: nets("10.0.4.0/22"), ..cluster() };
    let routing = Routing {
        also_proxy: nets("10.0.5.0/24 10.0.6.0/24"),
        never_proxy: nets("10.0.6.0/24 10.0.5.128/25"),
        ..Routing::default()
    };
    let plan = planned(&view, &routing, &laptop());
    assert!(in_main(&plan).starts_with("10.0.0.0/22 10.0.5.0/25 10.0.8.0/21 "));
}

#[test]
fn hidden_networks_and_their_exits() {
    let via = |text: &str| text.parse::<ProxyVia>().unwrap();
    let view = ClusterView { never_proxy: nets("10.132.9.0/24"), ..cluster() };
    let routing = Routing {
        also_proxy: nets("10.200.0.0/16"),
        proxy_via: vec![
            via("127.0.0.0/8=mesh"),
            via("10.128.0.0/9=wide"),
            via("10.132.4.0/24=narrow"),
            ProxyVia::vnat("also").unwrap(),
        ],
        ..Routing::default()
    };
    let plan = planned(&view, &routing, &laptop());
    assert_eq!(plan.routed, []);
    let exit = |text: &str| {
        let ip: IpAddr = text.parse().unwrap();
        let found: Vec<&Exit> = plan
            .hidden
            .iter()
            .filter(|hidden| hidden.network.contains(&ip))
            .map(|hidden| &hidden.exit)
            .collect();
        assert!(found.len() < 2);
        found.first().map(ToString::to_string)
    };
    assert_eq!(exit("127.0.0.1").as_deref(), Some("an agent of mesh"));
    assert_eq!(exit("10.130.0.1").as_deref(), Some("an agent of wide"));
    assert_eq!(exit("10.132.4.9").as_deref(), Some("an agent of narrow"));
    assert_eq!(exit("10.132.9.9"), None, "never-proxy");
    assert_eq!(exit("10.200.0.9").as_deref(), Some("the manager"));
    let inside = |text: &str| plan.inside.iter().any(|net| net.contains(&text.parse::<IpAddr>().unwrap()));
    assert!(inside("10.132.4.9") && !inside("127.0.0.1"));
}

#[test]
fn special_ranges_are_not_routed() {
    for special in
        ["0.0.0.0/0", "::/0", "127.0.0.0/8", "127.1.0.0/16", "169.254.169.254/32", "::1/128", "fe80::/64"]
    {
        let view = ClusterView { also_proxy: vec![net(special)], ..ClusterView::default() };
        assert_eq!(planned(&view, &Routing::default(), &Machine::default()), Plan::default(), "{special}");
    }
    let view = ClusterView { also_proxy: nets("126.0.0.0/7"), ..ClusterView::default() };
    assert_eq!(in_main(&planned(&view, &Routing::default(), &Machine::default())), "126.0.0.0/8");
}

#[test]
fn duplicates_and_neighbours_are_merged() {
    let view = ClusterView {
        service_subnets: nets("10.96.0.0/16"),
        pod_subnets: nets("10.244.0.0/24 10.244.1.0/24 10.96.3.0/24 fd00::/64"),
        ..ClusterView::default()
    };
    let plan = planned(&view, &Routing::default(), &laptop());
    assert_eq!(in_main(&plan), "10.96.0.0/16 10.244.0.0/23 fd00::/64");
}

#[test]
fn a_virtual_subnet_in_use_is_refused() {
    let machine = with_vpn("246.0.0.0/8 10.0.0.0/8");
    let error = plan(&cluster(), &Routing::default(), &machine, &Own::default()).unwrap_err();
    insta::assert_snapshot!(format!("{error}\n\nhint: {}", error.hint()), @"
    the virtual subnet 246.246.0.0/16 cannot be used: in the way is 246.0.0.0/8 dev tun0 (VPN)

    hint: nobody uses 245.245.0.0/16 here: set `routing.virtualSubnet: 245.245.0.0/16` in config.yml
    ");
    // nothing is hidden: nobody needs it
    assert!(plan(&cluster(), &Routing::default(), &with_vpn("246.0.0.0/8"), &Own::default()).is_ok());
    for chosen in ["192.168.0.0/16", "10.130.0.0/20", "127.0.0.0/8", "224.0.0.0/8"] {
        let routing = Routing { virtual_subnet_v4: chosen.parse().unwrap(), ..Routing::default() };
        assert!(plan(&cluster(), &routing, &laptop(), &Own::default()).is_err(), "{chosen}");
    }
    let routing = Routing { allow_conflicting: nets("246.246.0.0/16"), ..Routing::default() };
    let plan = planned(&cluster(), &routing, &machine);
    assert_eq!(plan.virtual_subnets[0].network, net("246.246.0.0/16"));
}
