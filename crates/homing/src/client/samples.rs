//! Reading what workers have done, minute by minute.

use super::Homing;
use crate::store;
use crate::store::read::{SampleFilter, SampleView};

impl Homing {
    /// What workers have done minute by minute: tasks begun and ended by queue and kind, how long they waited and ran, how
    /// many slots were taken. The oldest first; go on behind the last of a page with [`SampleFilter::after`].
    ///
    /// A worker counts in its own memory and tells the store once a minute, with a heartbeat, about the minutes that are over; when it
    /// shuts down about the last one, too. What a process that is killed has not told is lost. A worker that lives for less
    /// than a minute tells at its end. Samples are kept for [`limits::SAMPLES_KEPT`](crate::limits::SAMPLES_KEPT). Tasks that are cancelled, expire, or
    /// fail by their workers' deaths are ended by others, and counted nowhere here.
    ///
    /// ```
    /// # use homing::{Homing, SampleFilter, task};
    /// # #[task]
    /// # async fn leaf() -> homing::Result<u64> { Ok(1) }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let homing = Homing::open("memory:").await?;
    /// let worker = homing.worker().register(leaf).start().await?;
    /// homing.submit(leaf()).await?.outcome().await?;
    /// worker.shutdown(std::time::Duration::ZERO).await;
    /// let samples = homing.samples(SampleFilter::default()).await?;
    /// let work: Vec<_> = samples.iter().flat_map(|sample| &sample.work).collect();
    /// assert_eq!((work[0].kind.as_str(), work.iter().map(|work| work.ended()).sum()), ("leaf", 1));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The store fails, or a sample does not decode: a newer version of homing has written it, or somebody else.
    pub async fn samples(&self, filter: SampleFilter) -> Result<Vec<SampleView>, store::Error> {
        self.store.samples(filter).await?.into_iter().map(store::Sample::view).collect()
    }
}
