//! Keeps what this version writes, so that the next one can be tested on it: `keep_rows FOLDER`.

use std::path::PathBuf;

use anyhow::Context as _;
use system_tests::upgrade::{play, write};
use system_tests::world::{EMQX, World};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).context("keep_rows FOLDER: where to?")?);
    let data = folder.join("stack");
    let world = World::kept(EMQX, &data).await?;
    play(&world).await?;
    let rows = write(&world.stack.dynamo, &data, &folder, world.now())?;
    drop(world);
    std::fs::remove_dir_all(&data)?;
    println!("{rows} rows are kept in {}", folder.display());
    Ok(())
}
