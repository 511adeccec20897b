//! Networks cut where some input changes, and put together again where the outcome is the same.

use ipnet::IpNet;

/// `roots` as disjoint networks that no boundary lies within: all addresses of one are alike.
pub(super) fn split(roots: &[IpNet], boundaries: &[IpNet]) -> Vec<IpNet> {
    let mut blocks = Vec::new();
    for root in outermost(roots) {
        let within = boundaries.iter().chain(roots).copied().filter(|net| root.contains(net)).collect();
        cut(root, within, &mut blocks);
    }
    blocks
}

/// The least number of networks with the same outcome: siblings become their parent where `joined` has an outcome for
/// it.
pub(super) fn merge<T>(
    mut parts: Vec<(IpNet, T)>,
    joined: impl Fn(&T, &T, IpNet) -> Option<T>,
) -> Vec<(IpNet, T)> {
    parts.sort_by_key(|(net, _)| *net);
    let mut merged: Vec<(IpNet, T)> = Vec::new();
    for mut last in parts {
        while let Some((net, outcome)) = merged.last()
            && let Some(parent) = parent_of(*net, last.0)
            && let Some(both) = joined(outcome, &last.1, parent)
        {
            merged.pop();
            last = (parent, both);
        }
        merged.push(last);
    }
    merged
}

/// `net` in parts of at least `length`. The caller keeps their number small.
pub(super) fn narrowed(net: IpNet, length: u8) -> Vec<IpNet> {
    net.subnets(length.max(net.prefix_len())).map_or_else(|_| vec![net], Iterator::collect)
}

fn outermost(roots: &[IpNet]) -> Vec<IpNet> {
    let mut roots = roots.to_vec();
    roots.sort();
    roots.dedup();
    let is_inner = |net: &IpNet| roots.iter().any(|other| other != net && other.contains(net));
    roots.iter().copied().filter(|net| !is_inner(net)).collect()
}

/// `within` are the boundaries inside `net`.
fn cut(net: IpNet, mut within: Vec<IpNet>, blocks: &mut Vec<IpNet>) {
    within.retain(|inner| *inner != net);
    if within.is_empty() {
        blocks.push(net);
        return;
    }
    for half in narrowed(net, net.prefix_len() + 1) {
        cut(half, within.iter().copied().filter(|inner| half.contains(inner)).collect(), blocks);
    }
}

/// The network that two siblings make.
fn parent_of(left: IpNet, right: IpNet) -> Option<IpNet> {
    let parent = left.supernet()?;
    (left != right && left.prefix_len() == right.prefix_len() && right.supernet() == Some(parent))
        .then_some(parent)
}
