// The codebook codec refuses payloads that are cut short, too long or malformed, and stays inside its arrays whatever
// it reads; the encoder refuses what it cannot store.
#include <initializer_list>

#include "codec_support.h"

using namespace codec_test;

namespace {

void test_damage() {
  Random random(5);
  for (const bool full : {false, true}) {
    const Matrix m = random_matrix(30, 40, full ? 1.0 : 0.2, 9, !full, random);
    for (const CodebookEncodeOptions& options : all_options()) {
      CodebookSizes sizes;
      const Bytes payload = encode(m, options, &sizes);
      for (size_t size = 0; size < payload.size(); ++size) {
        check(decode(Bytes(payload.begin(), payload.begin() + long(size)), 30, 40).problem != nullptr,
              "cut to %zu of %zu bytes, %s", size, payload.size(), name(options).c_str());
      }
      Bytes longer = payload;
      longer.push_back(0);
      check(decode(longer, 30, 40).problem != nullptr, "a byte too many, %s", name(options).c_str());
      for (size_t bit = 0; bit < 8 * payload.size(); bit += 1 + bit / 200) {
        Bytes flipped = payload;
        flipped[bit / 8] = uint8_t(flipped[bit / 8] ^ 1 << bit % 8);
        const Decoded d = decode(flipped, 30, 40);
        check(!d.problem || std::strcmp(d.problem, "the sparse rows are malformed") != 0, "bit %zu flipped, %s", bit,
              name(options).c_str());
      }
      check(decode(payload, 30, 39).problem != nullptr, "read as another shape, %s", name(options).c_str());
    }
  }
}

void check_refused(std::initializer_list<int> head, size_t zeros, uint32_t rows, uint32_t columns, const char* what) {
  Bytes payload;
  for (const int b : head) payload.push_back(uint8_t(b));
  payload.resize(payload.size() + zeros);
  check(decode(payload, rows, columns).problem != nullptr, "%s is refused", what);
}

void test_malformed() {
  check_refused({}, 0, 1, 1, "an empty payload");
  check_refused({0x03, 1, 0}, 4, 4, 4, "coder 3");
  check_refused({0x40, 0, 0}, 0, 4, 4, "a codebook of 0 entries");
  check_refused({0x40, 0x81, 0x80, 0x04, 0}, 4 * 65537, 4, 4, "a codebook of 65537 entries");
  check_refused({0x40, 0x81, 0x00, 0}, 4, 4, 4, "a long form of a varint");
  check_refused({0x40, 1, 17}, 7, 4, 4, "17 non-zeros of 16 positions");
  check_refused({0x80, 1, 0}, 4, 4, 4, "mode 2 of coder 0");
  check_refused({0x40, 1, 1, 0, 0, 0, 0, 0, 0}, 0, 4, 4, "a gap width of 0");
  check_refused({0x40, 1, 1, 0, 0, 0, 0, 17, 0}, 3, 4, 4, "a gap width of 17");
  check_refused({0x40, 1, 1, 0, 0, 0, 0, 8, 16}, 17, 4, 4, "16 fillers beside a non-zero in 16 positions");
  check_refused({0x40, 1, 1, 0, 0, 0, 0, 8, 0, 16}, 0, 4, 4, "a position outside the matrix");
  check_refused({0x60, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xc0}, 0, 1, 1, "code 3 of 3");
  check_refused({0x00, 1, 1, 0, 0, 0, 0, 1, 0, 0x10, 0x80}, 6, 4, 4, "an incomplete Huffman code");
  check_refused({0x00, 1, 1, 0, 0, 0, 0, 2, 0, 0x08, 0x42, 0x10}, 6, 4, 4, "an over-full Huffman code");
  check_refused({0x01, 1, 1, 0, 0, 0, 0, 1, 64, 64}, 4, 4, 4, "period 1");
  check_refused({0x01, 1, 1, 0, 0, 0, 0, 5, 64, 64}, 4, 4, 4, "a period of more than the columns");
  check_refused({0x68, 2, 0xff, 0xff, 0xff, 0xff, 0x00}, 4, 1, 1, "an ascending codebook beyond the last value");
  check_refused({0x40, 1, 1}, 8, 65536, 65536, "2^32 positions");
  // Coder 2, dense, codes of 1 x 4.
  check_refused({0x22, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xc0}, 0, 1, 4, "code 3 of 3 in fixed width");
  check_refused({0x22, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x10}, 0, 1, 4, "padding behind codes of fixed width");
  check_refused({0xa2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x21, 1, 1, 1, 1}, 4, 1, 4, "an incomplete code in streams");
  check_refused({0xa2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x11, 0x01, 1, 1, 1, 1}, 4, 1, 4, "an over-full code");
  check_refused({0xa2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x1d, 1, 1, 1, 1}, 4, 1, 4, "a word of 13 bits");
  check_refused({0xa2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x21, 0x12, 1, 1, 1, 1}, 4, 1, 4, "a fourth length of 3");
  check_refused({0xa2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x11, 1, 1, 1, 2}, 5, 1, 4, "a stream with a byte too many");
  check_refused({0xa2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x11, 1, 1, 1, 1, 0, 0, 0, 2}, 0, 1, 4, "padding of a stream");
  check_refused({0xa2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x11, 1, 0, 2, 1}, 4, 1, 4, "an empty stream of one code");
  check_refused({0x02, 1, 1, 0, 0, 0, 0, 1, 0, 255}, 0, 1, 300, "a skip behind the last non-zero");
  check_refused({0x02, 1, 1, 0, 0, 0, 0, 1, 255, 0}, 0, 1, 255, "a skip of more than the matrix holds");
  check_refused({0x02, 1, 2, 0, 0, 0, 0, 0, 3, 0}, 0, 1, 4, "a gap to outside the matrix");
  check_refused({0x02, 1, 1, 0, 0, 0, 0, 1, 0, 1}, 0, 1, 300, "more non-zeros than announced");
  check_refused({0x22, 0x81, 0x02}, 4 * 257 + 4, 1, 4, "257 values in coder 2");
  Bytes payload;
  CodebookSizes sizes;
  const float value = 1e6f;
  const int32_t bad[2] = {0, 1}, good[2] = {0, -1};
  CodebookEncodeOptions options;
  check(camfit::codebook_encode(1, 2, bad, &value, 1, options, &payload, &sizes), "encoding code 1 of 1 is refused");
  check(camfit::codebook_encode(1, 2, good, &value, 0, options, &payload, &sizes), "an empty codebook is refused");
  options.half_codebook = true;
  check(camfit::codebook_encode(1, 2, good, &value, 1, options, &payload, &sizes), "1e6 as binary16 is refused");
}

}  // namespace

int main() {
  test_damage();
  test_malformed();
  return report();
}
