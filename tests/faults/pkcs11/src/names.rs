//! Numbers of PKCS#11 that have names: return codes, mechanisms, attributes, flags of a token.
//!
//! Each is written by its name where it has one here, and as a number otherwise; both are read, so that
//! a vendor's own numbers can be said.

use std::fmt;
use std::str::FromStr;

use cryptoki_sys::CK_ATTRIBUTE_TYPE;
use cryptoki_sys::CK_FLAGS;
use cryptoki_sys::CK_MECHANISM_TYPE;
use cryptoki_sys::CK_RV;

macro_rules! named {
    ($(#[$doc:meta])* $type:ident($number:ty), $what:literal; $($name:ident)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub struct $type(pub $number);

        impl $type {
            $(
                #[doc = concat!("`", stringify!($name), "`.")]
                pub const $name: Self = Self(cryptoki_sys::$name);
            )*
            const NAMES: &[(&'static str, $number)] =
                &[$((stringify!($name), cryptoki_sys::$name),)*];
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match Self::NAMES.iter().find(|(_, number)| *number == self.0) {
                    Some((name, _)) => f.write_str(name),
                    None => write!(f, "{:#x}", self.0),
                }
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let named = Self::NAMES.iter().find(|(name, _)| *name == text);
                let number = named.map(|(_, number)| *number).or_else(|| number(text));
                number.map(Self).ok_or_else(|| {
                    format!("\"{text}\" is no {}: write a number, or one of {}", $what, Self::list())
                })
            }
        }

        impl $type {
            fn list() -> String {
                let names: Vec<&str> = Self::NAMES.iter().map(|(name, _)| *name).collect();
                names.join(" ")
            }
        }
    };
}

named! {
    /// A return code.
    Code(CK_RV), "return code";
    CKR_OK CKR_CANCEL CKR_HOST_MEMORY CKR_SLOT_ID_INVALID CKR_GENERAL_ERROR
    CKR_FUNCTION_FAILED CKR_ARGUMENTS_BAD CKR_NO_EVENT CKR_NEED_TO_CREATE_THREADS
    CKR_CANT_LOCK CKR_ATTRIBUTE_READ_ONLY CKR_ATTRIBUTE_SENSITIVE CKR_ATTRIBUTE_TYPE_INVALID
    CKR_ATTRIBUTE_VALUE_INVALID CKR_ACTION_PROHIBITED CKR_DATA_INVALID CKR_DATA_LEN_RANGE
    CKR_DEVICE_ERROR CKR_DEVICE_MEMORY CKR_DEVICE_REMOVED CKR_ENCRYPTED_DATA_INVALID
    CKR_ENCRYPTED_DATA_LEN_RANGE CKR_AEAD_DECRYPT_FAILED CKR_FUNCTION_CANCELED
    CKR_FUNCTION_NOT_PARALLEL CKR_FUNCTION_NOT_SUPPORTED CKR_KEY_HANDLE_INVALID
    CKR_KEY_SIZE_RANGE CKR_KEY_TYPE_INCONSISTENT CKR_KEY_NOT_NEEDED CKR_KEY_CHANGED
    CKR_KEY_NEEDED CKR_KEY_INDIGESTIBLE CKR_KEY_FUNCTION_NOT_PERMITTED CKR_KEY_NOT_WRAPPABLE
    CKR_KEY_UNEXTRACTABLE CKR_MECHANISM_INVALID CKR_MECHANISM_PARAM_INVALID
    CKR_OBJECT_HANDLE_INVALID CKR_OPERATION_ACTIVE CKR_OPERATION_NOT_INITIALIZED
    CKR_PIN_INCORRECT CKR_PIN_INVALID CKR_PIN_LEN_RANGE CKR_PIN_EXPIRED CKR_PIN_LOCKED
    CKR_SESSION_CLOSED CKR_SESSION_COUNT CKR_SESSION_HANDLE_INVALID
    CKR_SESSION_PARALLEL_NOT_SUPPORTED CKR_SESSION_READ_ONLY CKR_SESSION_EXISTS
    CKR_SESSION_READ_ONLY_EXISTS CKR_SESSION_READ_WRITE_SO_EXISTS CKR_SIGNATURE_INVALID
    CKR_SIGNATURE_LEN_RANGE CKR_TEMPLATE_INCOMPLETE CKR_TEMPLATE_INCONSISTENT
    CKR_TOKEN_NOT_PRESENT CKR_TOKEN_NOT_RECOGNIZED CKR_TOKEN_WRITE_PROTECTED
    CKR_UNWRAPPING_KEY_HANDLE_INVALID CKR_UNWRAPPING_KEY_SIZE_RANGE
    CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT CKR_USER_ALREADY_LOGGED_IN CKR_USER_NOT_LOGGED_IN
    CKR_USER_PIN_NOT_INITIALIZED CKR_USER_TYPE_INVALID CKR_USER_ANOTHER_ALREADY_LOGGED_IN
    CKR_USER_TOO_MANY_TYPES CKR_WRAPPED_KEY_INVALID CKR_WRAPPED_KEY_LEN_RANGE
    CKR_WRAPPING_KEY_HANDLE_INVALID CKR_WRAPPING_KEY_SIZE_RANGE
    CKR_WRAPPING_KEY_TYPE_INCONSISTENT CKR_RANDOM_SEED_NOT_SUPPORTED CKR_RANDOM_NO_RNG
    CKR_DOMAIN_PARAMS_INVALID CKR_CURVE_NOT_SUPPORTED CKR_BUFFER_TOO_SMALL
    CKR_SAVED_STATE_INVALID CKR_INFORMATION_SENSITIVE CKR_STATE_UNSAVEABLE
    CKR_CRYPTOKI_NOT_INITIALIZED CKR_CRYPTOKI_ALREADY_INITIALIZED CKR_MUTEX_BAD
    CKR_MUTEX_NOT_LOCKED CKR_NEW_PIN_MODE CKR_NEXT_OTP CKR_EXCEEDED_MAX_ITERATIONS
    CKR_FIPS_SELF_TEST_FAILED CKR_LIBRARY_LOAD_FAILED CKR_PIN_TOO_WEAK CKR_PUBLIC_KEY_INVALID
    CKR_FUNCTION_REJECTED CKR_TOKEN_RESOURCE_EXCEEDED CKR_OPERATION_CANCEL_FAILED
    CKR_KEY_EXHAUSTED CKR_PENDING CKR_SESSION_ASYNC_NOT_SUPPORTED CKR_SEED_RANDOM_REQUIRED
    CKR_OPERATION_NOT_VALIDATED CKR_TOKEN_NOT_INITIALIZED CKR_PARAMETER_SET_NOT_SUPPORTED
    CKR_VENDOR_DEFINED
}

named! {
    /// A mechanism; those that signing needs have names here.
    Mechanism(CK_MECHANISM_TYPE), "mechanism";
    CKM_RSA_PKCS_KEY_PAIR_GEN CKM_RSA_PKCS CKM_SHA256_RSA_PKCS CKM_RSA_PKCS_PSS
    CKM_SHA256_RSA_PKCS_PSS CKM_EC_KEY_PAIR_GEN CKM_ECDSA CKM_ECDSA_SHA256 CKM_SHA256
    CKM_SHA256_HMAC CKM_GENERIC_SECRET_KEY_GEN CKM_AES_KEY_GEN CKM_AES_CMAC CKM_AES_GCM
    CKM_SHA512 CKM_SHA512_RSA_PKCS_PSS
}

named! {
    /// An attribute of an object; those that a signer looks at have names here.
    AttributeName(CK_ATTRIBUTE_TYPE), "attribute";
    CKA_CLASS CKA_TOKEN CKA_PRIVATE CKA_LABEL CKA_ID CKA_KEY_TYPE CKA_SENSITIVE CKA_SIGN
    CKA_MODULUS CKA_MODULUS_BITS CKA_PUBLIC_EXPONENT CKA_EXTRACTABLE CKA_LOCAL
    CKA_NEVER_EXTRACTABLE CKA_ALWAYS_SENSITIVE CKA_EC_PARAMS CKA_EC_POINT
    CKA_ALWAYS_AUTHENTICATE CKA_ALLOWED_MECHANISMS CKA_VALUE
}

named! {
    /// A flag in `CK_TOKEN_INFO`.
    TokenFlag(CK_FLAGS), "flag of a token";
    CKF_USER_PIN_INITIALIZED CKF_USER_PIN_COUNT_LOW CKF_USER_PIN_FINAL_TRY CKF_USER_PIN_LOCKED
    CKF_USER_PIN_TO_BE_CHANGED CKF_SO_PIN_LOCKED CKF_WRITE_PROTECTED CKF_LOGIN_REQUIRED
    CKF_TOKEN_INITIALIZED CKF_PROTECTED_AUTHENTICATION_PATH CKF_ERROR_STATE
}

/// A decimal number, or a hexadecimal one behind `0x`.
fn number<N: TryFrom<u64>>(text: &str) -> Option<N> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok()?,
        None => text.parse().ok()?,
    };
    number.try_into().ok()
}
