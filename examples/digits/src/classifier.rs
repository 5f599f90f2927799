use std::{fs::File, io::BufReader, path::Path, sync::Arc};

use bulkhead_guest::Error;
use tract_onnx::prelude::{
    DatumExt, Framework, InferenceModelExt, IntoRunnable, IntoTValue, Tensor, TractResult, TypedRunnableModel, tvec,
};

use crate::{
    answer::{DIGITS, Guess},
    input::PIXELS,
};

/// A loaded model, prepared for one picture at a time.
pub(crate) struct Classifier {
    plan: Arc<TypedRunnableModel>,
}

impl Classifier {
    pub(crate) fn load(path: &Path) -> Result<Self, Error> {
        let plan =
            prepare(path).map_err(|error| Error::new(0, format_args!("cannot load {}: {error:#}", path.display())))?;
        Ok(Self { plan })
    }

    pub(crate) fn guess(&self, pixels: &[f32]) -> Result<Guess, Error> {
        let probabilities =
            self.probabilities(pixels).map_err(|error| Error::new(0, format_args!("the model failed: {error:#}")))?;
        let (label, _) = probabilities
            .iter()
            .enumerate()
            .max_by(|(_, one), (_, other)| one.total_cmp(other))
            .expect("there are ten digits");
        Ok(Guess { label, probabilities })
    }

    fn probabilities(&self, pixels: &[f32]) -> TractResult<[f32; DIGITS]> {
        let input = Tensor::from_shape(&[1, PIXELS], pixels)?;
        let outputs = self.plan.run(tvec![input.into_tvalue()])?;
        let output = outputs[0].try_as_plain_ram()?;
        Ok(output.as_slice::<f32>()?.try_into()?)
    }
}

/// Loads the model. The fixed shape lets tract choose its kernels now instead of in every call.
fn prepare(path: &Path) -> TractResult<Arc<TypedRunnableModel>> {
    let mut file = BufReader::new(File::open(path)?);
    tract_onnx::onnx()
        .model_for_read(&mut file)?
        .with_input_fact(0, f32::fact([1, PIXELS]).into())?
        .into_optimized()?
        .into_runnable()
}
