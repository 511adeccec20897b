//! `tp maps dump`: the kernel programs' maps, decoded.

mod rows;

use anyhow::{Context, Result, anyhow};
use serde::Serialize;
use tonic::Code;
use tp_proto::daemon::DumpMapsRequest;

use crate::daemon::{self, rpc_error};
use crate::output::{Output, table};
use crate::report::with_hint;
use rows::Row;

#[derive(Debug, Serialize)]
struct Maps {
    maps: Vec<Map>,
}

#[derive(Debug, Serialize)]
struct Map {
    name: String,
    entries: usize,
    capacity: u64,
    rows: Vec<Row>,
}

pub async fn dump(map: Option<String>, output: Output) -> Result<()> {
    const DOING: &str = "reading the maps";
    let Some(mut daemon) = daemon::find().await? else {
        return Err(with_hint(anyhow!("not connected").context(DOING), "sudo tp connect"));
    };
    let reply = daemon.client.dump_maps(DumpMapsRequest { map: map.unwrap_or_default() }).await;
    let reply = reply.map_err(|status| match (status.code(), status.message().split_once("\n\nhint: ")) {
        (Code::NotFound, Some((message, hint))) => {
            with_hint(anyhow!(message.to_owned()).context(DOING), hint)
        }
        _ => rpc_error(DOING, &status),
    })?;
    let maps = reply.into_inner().maps.into_iter().map(|map| {
        let rows: Vec<Row> = serde_json::from_str(&map.rows_json)
            .with_context(|| format!("reading the rows of {}", map.name))?;
        Ok(Map { name: map.name, entries: rows.len(), capacity: map.capacity, rows })
    });
    let maps = Maps { maps: maps.collect::<Result<_>>().context(DOING)? };
    output.print(&maps, Maps::text)
}

impl Maps {
    fn text(&self) -> String {
        self.maps.iter().map(Map::text).collect::<Vec<_>>().join("\n")
    }
}

impl Map {
    fn text(&self) -> String {
        let mut text = format!("{}: {} of {}\n", self.name, self.entries, self.capacity);
        if let Some(first) = self.rows.first() {
            let header = first.columns().map(|name| name.to_uppercase().replace('_', " ")).collect();
            let rows = self.rows.iter().map(Row::cells).collect();
            text.push_str(&table(header, rows));
            text.push('\n');
        }
        text
    }
}
