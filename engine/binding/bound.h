// What the files of the Python module share.
#pragma once
#include <nanobind/nanobind.h>

namespace binding {

void bind_engine(nanobind::module_& module);
void bind_codec(nanobind::module_& module);

}  // namespace binding
