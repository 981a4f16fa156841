// Loads any bytes and, where they load, runs one image: no input may crash, hang, or allocate past its limit.
//
// A checksum stops nearly every blind mutation, so the mutator works on two levels: some inputs are changed as they
// are, checksums and all; the others are taken apart into sections, weights and payloads, changed there, and put
// together under correct lengths and checksums, so that the parsing below is reached.
//
//     cmake -S . -B build/fuzz -DCMAKE_CXX_COMPILER=clang++ -DCAMFIT_FUZZ=ON && cmake --build build/fuzz
//     python engine/fuzz/make_corpus.py build/fuzz/seeds && mkdir -p build/fuzz/corpus
//     build/fuzz/reader_fuzz -max_len=4096 -runs=5000000 build/fuzz/corpus build/fuzz/seeds
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "crc32.h"
#include "cursor.h"
#include "engine.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

using Bytes = std::vector<uint8_t>;

constexpr size_t kHeaderSize = 84, kMaxGrowth = 64;

camfit::Limits small_limits() {
  camfit::Limits limits;
  limits.tensor_elements = 1 << 14;
  limits.nodes = 64;
  limits.weights = 64;
  limits.extent = 1 << 12;
  limits.memory = 1 << 20;
  limits.work = 1 << 18;
  return limits;
}

void put_u32(Bytes& out, uint32_t value) {
  for (int i = 0; i < 4; ++i) out.push_back(uint8_t(value >> 8 * i));
}

void put_varint(Bytes& out, uint32_t value) {
  for (; value > 127; value >>= 7) out.push_back(uint8_t(value | 128));
  out.push_back(uint8_t(value));
}

struct Entry {
  uint8_t form, rank;
  uint32_t shape[4];
  Bytes payload;
};

// A file taken apart. The weight table stays raw bytes where it cannot be parsed.
struct Parts {
  Bytes info, nodes, table, blob;
  std::vector<Entry> entries;
  bool parsed = false;
};

bool parse_table(Parts* parts) {
  camfit::Cursor table(parts->table.data(), parts->table.size());
  const uint32_t count = table.varint();
  size_t offset = 0;
  for (uint32_t i = 0; i < count && table.ok(); ++i) {
    Entry entry{table.u8(), table.u8(), {1, 1, 1, 1}, {}};
    if (entry.rank > 4) return false;
    for (int d = 0; d < entry.rank; ++d) entry.shape[d] = table.varint();
    const uint32_t length = table.varint();
    if (length > parts->blob.size() - offset) return false;
    entry.payload.assign(parts->blob.begin() + long(offset), parts->blob.begin() + long(offset + length));
    offset += length;
    parts->entries.push_back(entry);
  }
  return table.ok() && table.left() == 0 && offset == parts->blob.size();
}

bool take_apart(const uint8_t* data, size_t size, Parts* parts) {
  if (size < kHeaderSize) return false;
  Bytes* const sections[4] = {&parts->info, &parts->nodes, &parts->table, &parts->blob};
  for (int i = 0; i < 4; ++i) {
    const uint32_t offset = camfit::load_u32(data + 20 + 16 * i), length = camfit::load_u32(data + 24 + 16 * i);
    if (offset > size || length > size - offset) return false;
    sections[i]->assign(data + offset, data + offset + length);
  }
  parts->parsed = parse_table(parts);
  return true;
}

Bytes put_together(Parts& parts) {
  if (parts.parsed) {
    parts.table.clear();
    parts.blob.clear();
    put_varint(parts.table, uint32_t(parts.entries.size()));
    for (const Entry& entry : parts.entries) {
      parts.table.push_back(entry.form);
      parts.table.push_back(entry.rank);
      for (int d = 0; d < entry.rank; ++d) put_varint(parts.table, entry.shape[d]);
      put_varint(parts.table, uint32_t(entry.payload.size()));
      parts.blob.insert(parts.blob.end(), entry.payload.begin(), entry.payload.end());
    }
  }
  const Bytes* const sections[4] = {&parts.info, &parts.nodes, &parts.table, &parts.blob};
  const char* const tags[4] = {"INFO", "NODE", "WGHT", "BLOB"};
  Bytes file = {0x89, 'c', 'a', 'm', 'f', 'i', 't', '\n', CAMFIT_FORMAT_VERSION, 0, 4, 0};
  size_t offset = kHeaderSize, length = kHeaderSize;
  for (const Bytes* section : sections) length += section->size();
  put_u32(file, uint32_t(length));
  for (int i = 0; i < 4; ++i) {
    file.insert(file.end(), tags[i], tags[i] + 4);
    put_u32(file, uint32_t(offset));
    put_u32(file, uint32_t(sections[i]->size()));
    put_u32(file, camfit::crc32(sections[i]->data(), sections[i]->size()));
    offset += sections[i]->size();
  }
  put_u32(file, camfit::crc32(file.data(), file.size()));
  for (const Bytes* section : sections) file.insert(file.end(), section->begin(), section->end());
  return file;
}

void mutate(Bytes* bytes) {
  const size_t size = bytes->size();
  bytes->resize(size + kMaxGrowth);
  bytes->resize(LLVMFuzzerMutate(bytes->data(), size, bytes->size()));
}

// The payload length that the other fields of a weight demand, where they do.
void fit_payload(Entry* entry) {
  uint64_t elements = 1;
  for (uint32_t dimension : entry->shape) elements = elements > 4096 ? elements : elements * dimension;
  if (elements > 4096) return;
  if (entry->form == 0) entry->payload.resize(4 * elements);
  if (entry->form == 1) entry->payload.resize(2 * elements);
  if (entry->form == 3 && entry->payload.size() >= 8) {
    entry->payload.resize(entry->payload.size() / 4 * 4);
    const uint32_t buckets = uint32_t(entry->payload.size() / 4 - 2);
    std::memcpy(entry->payload.data() + 4, &buckets, 4);
  }
  if (entry->form == 4) entry->payload.resize(4 * size_t(entry->shape[0]) + (elements + 7) / 8);
}

void mutate_entry(Entry* entry, std::minstd_rand& random) {
  switch (random() % 4) {
    case 0: entry->form = uint8_t(random() % 7); break;
    case 1: {
      entry->rank = uint8_t(random() % 8 ? (random() % 2 ? 2 : 4) : random() % 5);
      for (int d = entry->rank; d < 4; ++d) entry->shape[d] = 1;
      break;
    }
    case 2: entry->shape[random() % 4] = uint32_t(random() % 20); break;
    default: mutate(&entry->payload); return;
  }
  for (int d = entry->rank; d < 4; ++d) entry->shape[d] = 1;
  fit_payload(entry);
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  std::minstd_rand random(seed);
  Parts parts;
  if (random() % 8 == 0 || !take_apart(data, size, &parts)) return LLVMFuzzerMutate(data, size, max_size);
  const unsigned choice = random() % 16;
  if (choice == 0) {
    mutate(&parts.info);
  } else if (choice < 7) {
    mutate(&parts.nodes);
  } else if (parts.parsed && !parts.entries.empty() && choice < 14) {
    mutate_entry(&parts.entries[random() % parts.entries.size()], random);
  } else {
    parts.parsed = false;
    mutate(random() % 2 ? &parts.table : &parts.blob);
  }
  const Bytes file = put_together(parts);
  if (file.size() > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::memcpy(data, file.data(), file.size());
  return file.size();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // The bytes themselves choose how they are run.
  const uint32_t choice = size < kHeaderSize ? 0 : data[kHeaderSize - 4];
  const camfit_options options = {1, choice & 1 ? CAMFIT_MEMORY : CAMFIT_SPEED,
                                  choice & 2 ? CAMFIT_ISA_PLAIN : CAMFIT_ISA_AUTO};
  static const camfit::Limits limits = small_limits();
  camfit_engine* engine = nullptr;
  char why[CAMFIT_ERROR_BYTES] = "";
  const camfit_status status = load_engine(data, size, &options, limits, &engine, why);
  if ((status == CAMFIT_OK) != (engine != nullptr) || (status != CAMFIT_OK && !why[0])) std::abort();
  if (!engine) return 0;
  if (engine->allocator.peak() > limits.memory) std::abort();
  const std::vector<uint8_t> image(engine->input.size(), 130);
  std::vector<float> output(engine->output.size());
  camfit_run_u8(engine, image.data(), output.data());
  camfit_free(engine);
  return 0;
}
