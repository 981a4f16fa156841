// camfit._native: the engine and the codebook codec for Python.
#include "bound.h"

NB_MODULE(_native, module) {
  module.doc() = "Native engine of camfit: loads and runs packed networks, and encodes codebook weights.";
  module.attr("__version__") = CAMFIT_VERSION;
  binding::bind_engine(module);
  binding::bind_codec(module);
}
