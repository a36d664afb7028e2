//! The transliteration against the tables and samples of ICAO Doc 9303-3.

use proptest::prelude::*;

use super::*;

fn latin(text: &str) -> String {
    transliterate(text).unwrap_or_else(|refused| panic!("{text:?}: {refused}"))
}

/// Every letter of Vietnamese: 12 vowels and Đ, in five tones and none, in both cases.
fn vietnamese() -> Vec<char> {
    let vowels = "AĂÂEÊIOÔƠUƯY";
    let tones = ["", "\u{300}", "\u{301}", "\u{303}", "\u{309}", "\u{323}"];
    let toned = vowels.chars().flat_map(|vowel| {
        tones.map(|tone| format!("{vowel}{tone}").nfc().next().expect("one letter"))
    });
    let capitals: Vec<char> = toned.chain("BCDĐGHKLMNPQRSTVX".chars()).collect();
    let small: Vec<char> = capitals.iter().flat_map(|c| c.to_lowercase()).collect();
    [capitals, small].concat()
}

#[test]
fn the_real_sample_reads_as_printed() {
    // Viet Nam's published certificate has NGUYEN and BAO<DUY for Nguyễn and Bảo Duy.
    assert_eq!(latin("Nguyễn"), "NGUYEN");
    assert_eq!(latin("Bảo Duy"), "BAO<DUY");
}

#[test]
fn every_row_of_the_shared_table_is_followed() {
    // Every row of ICAO 9303-3 §6.A gives its first recommendation, also in the middle of a name.
    let root = std::env::var("SIGNERD_HCERT_DATA").unwrap_or_else(|_| {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/hcert/data").to_owned()
    });
    let Ok(table) = std::fs::read_to_string(format!("{root}/icao9303-transliteration.tsv")) else {
        eprintln!("SKIPPED: no icao9303-transliteration.tsv in {root} (set SIGNERD_HCERT_DATA)");
        return;
    };
    let mut rows = 0;
    for line in table.lines().filter(|line| line.starts_with("U+")) {
        let columns: Vec<&str> = line.split('\t').collect();
        let code = u32::from_str_radix(&columns[0][2..], 16).unwrap();
        let c = char::from_u32(code).unwrap();
        let ascii = if columns[3] == "DEL" { "" } else { columns[3] };
        assert_eq!(latin(&format!("X{c}X")), format!("X{ascii}X"), "{}", columns[0]);
        rows += 1;
    }
    assert!(rows > 290, "only {rows} rows");
}

#[test]
fn all_of_vietnamese_loses_its_marks() {
    // Every letter of Vietnamese becomes its base letter; Đ, which has no decomposition, becomes D.
    for c in vietnamese() {
        let base = match c {
            'Đ' | 'đ' => 'D',
            _ => c.to_string().nfd().next().unwrap().to_ascii_uppercase(),
        };
        assert_eq!(latin(&c.to_string()), base.to_string(), "{c}");
    }
}

#[test]
fn composed_and_decomposed_text_agree() {
    // It does not matter how a letter is encoded, nor in which of the old ways it was typed.
    for name in ["Nguyễn Thị Hường", "Đặng Ửng Ỷ", "Trần Đình Khởi"] {
        let decomposed: String = name.nfd().collect();
        assert_eq!(latin(&decomposed), latin(name));
    }
    // Windows-1258: a composed ê and a combining tone.
    assert_eq!(latin("Nguyê\u{303}n Hiê\u{323}p"), "NGUYEN<HIEP");
}

#[test]
fn look_alikes_of_dj_are_d() {
    // Ð (eth) and Ɖ (African D) are typed for Đ and read as it.
    assert_eq!(latin("\u{D0}ỗ \u{189}ức \u{110}ạt"), "DO<DUC<DAT");
    assert_eq!(latin("\u{F0}ỗ \u{256}ức \u{111}ạt"), "DO<DUC<DAT");
}

#[test]
fn icao_prefers_two_letters_where_marks_carry_sound() {
    // Ä Ö Ü Å Æ Ø ß Þ become two letters, unlike what dropping marks would give.
    assert_eq!(
        latin("Müller Åström Ærø Weiß Þór Ĳssel"),
        "MUELLER<AASTROEM<AEROE<WEISS<THOR<IJSSEL"
    );
    assert_eq!(latin("Łukasz Żółć"), "LUKASZ<ZOLC");
}

#[test]
fn apostrophes_join_and_hyphens_part() {
    // ICAO 9303-3 §4.6: an apostrophe is omitted and the parts joined, a hyphen or comma parts.
    assert_eq!(latin("D'Artagnan"), "DARTAGNAN");
    assert_eq!(latin("O\u{2019}Connor-Smith, Jr."), "OCONNOR<SMITH<JR");
}

#[test]
fn separators_stand_alone_and_inside() {
    // Runs of separators are one, none leads or trails ("DR<<MUSTERMANN" was another issuer's fault).
    assert_eq!(latin("  Dr. -  Mustermann - "), "DR<MUSTERMANN");
    assert_eq!(latin("Lê\u{A0}\u{A0}Văn\u{200B}A"), "LE<VANA");
    assert_eq!(latin("Lê\u{2009}\u{3000}Văn"), "LE<VAN");
}

#[test]
fn what_has_no_row_is_refused_not_dropped() {
    // A letter without a row is an error: a name must not lose letters silently.
    for name in ["Иван", "王小明", "Nguyễn Ж", "Αλέξης", "สมชาย", "Ǎn", "Nq\u{30C}"]
    {
        assert_eq!(transliterate(name), Err(NotTransliterable::NoRow), "{name}");
    }
}

#[test]
fn digits_and_symbols_are_refused() {
    // Digits of any script, symbols and control characters are not part of a name.
    for name in ["Nguyễn 2", "A٣", "A½", "Louis Ⅳ"] {
        assert_eq!(transliterate(name), Err(NotTransliterable::Digit), "{name}");
    }
    for name in ["A<B", "A\nB", "A\tB", "A\0", "A+B", "A=B", "A\u{1F600}", "A€"] {
        assert_eq!(transliterate(name), Err(NotTransliterable::Alien), "{name:?}");
    }
}

#[test]
fn a_name_without_letters_is_empty() {
    // What has no letter becomes an error, never an empty name.
    for name in ["", " ", "-", "...", "'", "\u{200B}", "\u{301}"] {
        assert_eq!(transliterate(name), Err(NotTransliterable::Empty), "{name:?}");
    }
}

proptest! {
    #[test]
    fn the_result_is_a_machine_readable_name(text in ".{0,40}") {
        // Whatever comes in, what comes out is A–Z with single separators between parts.
        if let Ok(latin) = transliterate(&text) {
            prop_assert!(!latin.is_empty());
            for part in latin.split('<') {
                prop_assert!(!part.is_empty());
                prop_assert!(part.bytes().all(|byte| byte.is_ascii_uppercase()));
            }
        }
    }

    #[test]
    fn vietnamese_words_never_fail(
        words in prop::collection::vec(prop::collection::vec(prop::sample::select(vietnamese()), 1..8), 1..6)
    ) {
        // Any words of Vietnamese letters become as many words of as many capitals.
        let name = words.iter().map(|word| word.iter().collect::<String>()).collect::<Vec<_>>().join(" ");
        let decomposed: String = name.nfd().collect();
        let lengths: Vec<usize> = latin(&name).split('<').map(str::len).collect();
        prop_assert_eq!(lengths, words.iter().map(Vec::len).collect::<Vec<_>>());
        prop_assert_eq!(latin(&decomposed), latin(&name));
    }

    #[test]
    fn writing_again_changes_nothing_but_the_sign(text in "[a-zA-ZÀ-ỹ' -]{1,40}") {
        // Latin capitals stay as they are.
        if let Ok(once) = transliterate(&text) {
            prop_assert_eq!(latin(&once.replace('<', " ")), once);
        }
    }
}

#[test]
fn every_row_is_as_in_the_document() {
    // Each letter of table A of section 6, and each of ours beside it, gives the letters of its row, capital
    // or small: also where no copy of the document is at hand.
    for (letters, ascii) in [
        ("ÀÁÂÃĀĂĄƏ", "A"),
        ("ÄÆ", "AE"),
        ("Å", "AA"),
        ("ÇĆĈĊČ", "C"),
        ("ÐĎĐƉ", "D"),
        ("ÈÉÊËĒĔĖĘĚ", "E"),
        ("ĜĞĠĢǦ", "G"),
        ("ĤĦ", "H"),
        ("ÌÍÎÏĨĪĬĮİı", "I"),
        ("Ĳ", "IJ"),
        ("Ĵ", "J"),
        ("Ķĸ", "K"),
        ("ĹĻĽĿŁ", "L"),
        ("ÑŃŅŇŊ", "N"),
        ("ÒÓÔÕŌŎŐ", "O"),
        ("ÖØŒ", "OE"),
        ("ŔŖŘ", "R"),
        ("ŚŜŞŠȘ", "S"),
        ("ẞ", "SS"),
        ("ŢŤŦȚ", "T"),
        ("Þ", "TH"),
        ("ÙÚÛŨŪŬŮŰŲ", "U"),
        ("Ü", "UE"),
        ("Ŵ", "W"),
        ("ÝŶŸ", "Y"),
        ("ŹŻŽ", "Z"),
    ] {
        for letter in letters.chars() {
            assert_eq!(transliterate(&letter.to_string()).as_deref(), Ok(ascii), "{letter}");
            // The small form of İ is two characters, the second a mark of no Vietnamese letter.
            let small: String = letter.to_lowercase().collect();
            if small.chars().count() == 1 {
                assert_eq!(transliterate(&small).as_deref(), Ok(ascii), "{small}");
            }
        }
    }
}
