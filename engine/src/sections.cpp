// The header: magic, version, the section table and every checksum.
#include <cstring>

#include "crc32.h"
#include "cursor.h"
#include "network.h"
#include "utf8.h"

namespace camfit {
namespace {

constexpr uint8_t kMagic[8] = {0x89, 'c', 'a', 'm', 'f', 'i', 't', '\n'};
constexpr uint32_t kSections = 4;
constexpr uint32_t kTableBegin = 16, kTableEntry = 16;
constexpr uint32_t kHeaderSize = kTableBegin + kSections * kTableEntry + 4;
constexpr char kTags[kSections][5] = {"INFO", "NODE", "WGHT", "BLOB"};

}  // namespace

bool read_sections(const uint8_t* data, size_t size, Sections* out, Error& error) {
  if (size < sizeof kMagic || std::memcmp(data, kMagic, sizeof kMagic) != 0) {
    return error.malformed("header: not a .camfit file (its first 8 bytes are not the magic number)");
  }
  if (size < kHeaderSize) {
    return error.malformed("header: the file has %llu bytes, the header alone needs %u",
                           static_cast<unsigned long long>(size), kHeaderSize);
  }
  const uint32_t version = load_u16(data + 8), count = load_u16(data + 10), length = load_u32(data + 12);
  if (version < 1 || version > CAMFIT_FORMAT_VERSION) {
    return error.unsupported("header: format version %u, this engine reads 1 to %d", version, CAMFIT_FORMAT_VERSION);
  }
  out->version = version;
  if (count != kSections) return error.malformed("header: %u sections, expected %u", count, kSections);
  if (length != size) {
    return error.malformed("header: the file should be %u bytes long, but has %llu", length,
                           static_cast<unsigned long long>(size));
  }
  if (crc32(data, kHeaderSize - 4) != load_u32(data + kHeaderSize - 4)) {
    return error.malformed("header: checksum mismatch, the file is damaged");
  }

  Section* const sections[kSections] = {&out->info, &out->nodes, &out->weights, &out->blob};
  uint32_t expected = kHeaderSize;
  for (uint32_t i = 0; i < kSections; ++i) {
    const uint8_t* entry = data + kTableBegin + i * kTableEntry;
    const uint32_t offset = load_u32(entry + 4), bytes = load_u32(entry + 8);
    if (std::memcmp(entry, kTags[i], 4) != 0) return error.malformed("header: section %u is not %s", i, kTags[i]);
    if (offset != expected) {
      return error.malformed("header: section %s begins at byte %u, expected %u", kTags[i], offset, expected);
    }
    if (bytes > length - offset) {
      return error.malformed("header: section %s of %u bytes at byte %u reaches past the end of the file (%u)",
                             kTags[i], bytes, offset, length);
    }
    sections[i]->data = data + offset;
    sections[i]->size = bytes;
    expected = offset + bytes;
  }
  if (expected != length) {
    return error.malformed("header: the last section ends at byte %u, the file at %u", expected, length);
  }
  for (uint32_t i = 0; i < kSections; ++i) {
    if (crc32(sections[i]->data, sections[i]->size) != load_u32(data + kTableBegin + i * kTableEntry + 12)) {
      return error.malformed("%s: checksum mismatch, the file is damaged", kTags[i]);
    }
  }
  if (!utf8_valid(out->info.data, out->info.size)) return error.malformed("INFO: not valid UTF-8");
  return true;
}

}  // namespace camfit
